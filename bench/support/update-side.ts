import { configSchema } from '../../src/config/control-schema.js';
import { fillNormal, foldIn, randomKey } from '../../src/core/random-keys.js';
import { createFamily } from '../../src/distributions/create.js';
import { createEngine, type EngineOptions } from '../../src/engine/create.js';
import type { Engine, EngineName } from '../../src/engine/engine.js';
import { createFeedbackRegistry } from '../../src/feedback/registry.js';
import { topK } from '../../src/feedback/top-k.js';
import { Agent } from '../../src/learners/control/agent.js';
import { updateNoise } from '../../src/learners/control/noise.js';
import { updatesInFlight } from '../../src/learners/offline/train.js';
import { mpo } from '../../src/operators/mpo.js';
import { pmpo } from '../../src/operators/pmpo.js';
import { createOperatorRegistry } from '../../src/operators/registry.js';
import type { TransitionBatch } from '../../src/replay/transition-store.js';

/** Whole updates of critics and policy, as benchmarks time them. */

export const sizes = { observations: 24, actions: 6, hidden: 256, batch: 256 };
export const kl = { mean: 2, covariance: 50 };
// The operator and the classifier of the configuration play no part here.
const registries = { operators: createOperatorRegistry(), feedback: createFeedbackRegistry() };
export const defaults = configSchema(registries).parse({
  environment: { simulator: 'none' },
  policy: { hidden: [sizes.hidden, sizes.hidden] },
  critic: { hidden: [sizes.hidden, sizes.hidden] },
  learner: { batchSize: sizes.batch },
});
/** How many updates are submitted before one is waited for: in a control job those of one step of its environments. */
export const updatesAtHand = {
  control: defaults.environment.numEnvs / defaults.learner.stepsPerUpdate,
  offline: updatesInFlight,
};
/** Makes updates by calls of `submit`, and waits until they have ended. */
export type Schedule = (updates: number, submit: () => Promise<unknown>) => Promise<void>;

/** Submits `size` updates at once and waits for all of them, as a control job does. */
export function iterations(size: number): Schedule {
  return async (updates, submit) => {
    for (let left = updates; left > 0; left -= size) {
      await Promise.all(Array.from({ length: Math.min(size, left) }, submit));
    }
  };
}

/** Submits an update when fewer than `size` are under way, as an offline job does. */
export function window(size: number): Schedule {
  return async (updates, submit) => {
    const pending: Promise<unknown>[] = [];
    for (let i = 0; i < updates; i++) {
      pending.push(submit());
      if (pending.length >= size) await pending.shift();
    }
    await Promise.all(pending);
  };
}

export interface UpdateSide {
  readonly name: string;
  /** Milliseconds of one update, averaged over `updates` in a row. */
  time(updates: number): Promise<number>;
  close(): Promise<void>;
}

function randomBatches(count: number): TransitionBatch[] {
  const { batch, observations, actions } = sizes;
  const normal = (name: string, i: number, ...shape: number[]) => ({
    shape,
    data: fillNormal(
      foldIn(foldIn(randomKey(1), name), i),
      new Float32Array(shape.reduce((a, b) => a * b, 1)),
    ),
  });
  return Array.from({ length: count }, (_, i) => {
    const drawn = normal('actions', i, batch, actions);
    return {
      observations: normal('observations', i, batch, observations),
      actions: { shape: drawn.shape, data: drawn.data.map(Math.tanh) },
      returns: normal('returns', i, batch),
      discounts: { shape: [batch], data: new Float32Array(batch).fill(0.95) },
      nextObservations: normal('nextObservations', i, batch, observations),
    };
  });
}

/** An agent of the benchmark's sizes, with fresh parameters. */
export function createAgent(engine: Engine, operatorName: 'pmpo' | 'mpo', samples: number) {
  const config = { ...defaults, learner: { ...defaults.learner, samples } };
  const family = createFamily(config.policy, new Int32Array(sizes.actions));
  const agent = new Agent(
    {
      engine,
      config,
      family,
      operator: operatorName === 'pmpo' ? pmpo({ beta: 1, kl }) : mpo(),
      classifier: topK(),
      classifierName: 'top-k',
      observationSize: sizes.observations,
      actionSize: sizes.actions,
      actionMinimum: new Float32Array(sizes.actions).fill(-1),
      actionMaximum: new Float32Array(sizes.actions).fill(1),
      actionValues: new Int32Array(sizes.actions),
    },
    randomKey(0),
  );
  return { agent, config, family };
}

/** Updates by one of our engines. @param schedule how they are submitted. */
export async function ours(
  name: string,
  engineName: EngineName,
  operatorName: 'pmpo' | 'mpo',
  samples: number,
  schedule = iterations(1),
  engineOptions: EngineOptions = {},
): Promise<UpdateSide> {
  const engine = await createEngine(engineName, engineOptions);
  const { agent, family } = createAgent(engine, operatorName, samples);
  const batches = randomBatches(8);
  const noise = (update: number) =>
    updateNoise(family, foldIn(randomKey(2), update), [samples, sizes.batch, sizes.actions]);
  let update = 0;
  return {
    name,
    time: async (updates) => {
      const start = performance.now();
      // The engine computes on its own thread while this one draws the next noise.
      await schedule(updates, () => {
        const batch = batches[update % batches.length]!;
        return agent.update(update, batch, noise(update++), 1);
      });
      return (performance.now() - start) / updates;
    },
    close: async () => {
      await engine.dispose();
    },
  };
}
