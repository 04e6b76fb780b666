import { afterEach, describe, expect, it } from 'vitest';
import { resolveConfig } from '../../src/config/load.js';
import { parseOverride } from '../../src/config/source.js';
import { createEngine } from '../../src/engine/create.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { Environment } from '../../src/environments/environment.js';
import { trainControl } from '../../src/learners/control/train.js';
import { createOperatorRegistry } from '../../src/operators/registry.js';
import { simulators } from '../../src/simulators/registry.js';
import { silentObserver } from '../support/silent-observer.js';

/** Every operator in a control job, with its defaults. src/learners/language/train.test.ts has them in a language job. */

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** The embedded cart-pole with episodes of 30 steps, so that evaluations take no time. */
async function shortCartpole(): Promise<Environment> {
  const environment = await simulators.get('cartpole_swingup').create({});
  let steps = 0;
  return {
    observationSpec: environment.observationSpec,
    actionSpec: environment.actionSpec,
    reset(options) {
      steps = 0;
      return environment.reset(options);
    },
    async step(action) {
      steps += 1;
      const outcome = await environment.step(action);
      return { ...outcome, truncated: outcome.truncated || steps === 30 };
    },
    close: () => environment.close(),
  };
}

/** Trains for 300 steps, and returns the gradient norms of the policy. */
async function gradientNorms(operator: string, ...set: string[]): Promise<number[]> {
  const text = `
environment: { simulator: cartpole_swingup }
operator: { name: ${operator} }
policy: { hidden: [16, 16] }
critic: { hidden: [16, 16] }
learner: { warmupSteps: 60, batchSize: 16, environmentSteps: 300 }
evaluation: { every: 300, episodes: 1 }
`;
  const engine = await createEngine('onnx', { threads: 1 });
  cleanups.push(() => engine.dispose());
  const loaded = await resolveConfig('operator.yaml', text, set.map(parseOverride));
  const environment = (numEnvs: number, offset: number) =>
    createVectorEnvironment({
      connect: shortCartpole,
      numEnvs,
      episodeSeed: (env, episode) => offset + env * 10_007 + episode * 101,
      reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
      notice: () => {},
    });
  const norms: number[] = [];
  await trainControl({
    config: loaded.config,
    engine,
    environment: await environment(2, 1),
    evaluationEnvironment: await environment(1, 500_000),
    operator: loaded.operator,
    classifier: loaded.classifier,
    observer: {
      ...silentObserver,
      metrics: ({ values }) => {
        const norm = values['policy/gradientNorm'];
        if (norm !== undefined) norms.push(norm);
      },
    },
    clock: () => 0,
  });
  return norms;
}

const registry = createOperatorRegistry();
const isForSequences = (name: string) => registry.get(name).create().needs.length === true;
const names = registry.names();

describe('a control job', () => {
  // Training ends with an error at the first number that is not finite.
  it.each(names.filter((name) => !isForSequences(name)))(
    'trains with %s and its defaults',
    { timeout: 60_000 },
    async (name) => {
      const norms = await gradientNorms(name);
      expect(norms.length).toBeGreaterThan(0);
      expect(Math.max(...norms)).toBeGreaterThan(0);
    },
  );

  it("trains with PMPO's reverse KL, bounded by part", { timeout: 60_000 }, async () => {
    const norms = await gradientNorms('pmpo', 'operator.reverseKl=true', 'operator.advantageScale=0.1');
    expect(Math.max(...norms)).toBeGreaterThan(0);
  });

  it.each([
    ...names.filter(isForSequences).map((name) => [name]),
    ['grpo', 'operator.perToken=true'],
    ['kto', 'operator.referencePoint=mismatched'],
    ['reinforce', 'learner.samples=1'],
  ])('is refused before it starts: %s %s', async (name, ...set) => {
    await expect(gradientNorms(name, ...set)).rejects.toThrow(new RegExp(`operator.*'${name}'`));
  });
});
