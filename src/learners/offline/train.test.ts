import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resolveJob } from '../../config/load.js';
import { PmpoError } from '../../core/errors.js';
import { openTransitions } from '../../datasets/transitions/open.js';
import { MinariWriter } from '../../datasets/transitions/write-minari.js';
import { createEngine } from '../../engine/create.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { dataShape } from './data-shape.js';
import { trainOffline } from './train.js';

let folder: string;
let data: string;
let otherData: string;

/** A bandit with two kinds of actions: of 64 states s, an action near s is rewarded, and another is punished; half of the data is each. */
async function writeData(path: string, reward = 1): Promise<void> {
  const writer = await MinariWriter.create(path, {
    observations: [{ name: 'state', shape: [1], size: 1, divisor: 1, isBytes: false }],
    observationSize: 1,
    actionMinimum: Float32Array.of(-1),
    actionMaximum: Float32Array.of(1),
    actionValues: [0],
  });
  for (let i = 0; i < 256; i++) {
    const state = (i % 64) / 32 - 1;
    const isGood = (i >> 6) % 2 === 0;
    writer.add({
      observations: Float32Array.of(state, state),
      actions: Float32Array.of(isGood ? 0.6 * state : -0.6 * state - 0.3),
      rewards: Float64Array.of(isGood ? reward : -reward),
      terminated: true,
      policy: 'test',
    });
  }
  await writer.finish({});
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-offline-'));
  data = join(folder, 'data');
  await writeData(data);
  otherData = join(folder, 'other');
  await writeData(otherData, 2);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Trained {
  readonly checkpoints: Map<number, Checkpoint>;
  readonly notices: readonly string[];
  /** Means of the mode over 64 states: the distance to the rewarded action, and to the punished one. */
  readonly distance: { readonly good: number; readonly bad: number };
}

async function train(
  settings: string,
  {
    resume,
    stopAt,
    path = data,
    megabytes = 1024,
  }: {
    readonly resume?: Checkpoint;
    readonly stopAt?: number;
    readonly path?: string;
    readonly megabytes?: number;
  } = {},
): Promise<Trained> {
  const text = `
dataset: {file: ${path}, nStep: 1, megabytes: ${megabytes}}
policy: {hidden: [32]}
critic: {hidden: [32], target: {period: 20}}
reference: {period: 20}
checkpoint: {every: 100}
${settings}`;
  const job = await resolveJob('test.yaml', text);
  if (job.kind !== 'offline') throw new Error(job.kind);
  const engine = await createEngine('onnx', { threads: 1 });
  const source = await openTransitions(path);
  const checkpoints = new Map<number, Checkpoint>();
  const notices: string[] = [];
  const stopping = new AbortController();
  try {
    const result = await trainOffline({
      config: job.config,
      engine,
      source,
      data: dataShape(source),
      operator: job.operator,
      classifier: job.classifier,
      observer: {
        progress: (steps) => {
          if (steps === stopAt) stopping.abort();
        },
        metrics: () => {},
        evaluation: () => {},
        notice: (message) => notices.push(message),
        checkpoint: async (steps, { tensors, metadata }) => {
          checkpoints.set(steps, {
            tensors: Object.fromEntries(
              Object.entries(tensors).map(([name, { shape, data: values }]) => [
                name,
                { shape, data: values.slice() },
              ]),
            ),
            metadata,
          });
        },
      },
      resume,
      signal: stopping.signal,
      clock: () => 0,
    });
    const states = Float32Array.from({ length: 64 }, (_, i) => i / 32 - 1);
    const modes = await result.policy.act(states, 64);
    const away = (of: (state: number) => number) =>
      states.reduce((sum, state, i) => sum + Math.abs(modes[i]! - of(state)), 0) / 64;
    return {
      checkpoints,
      notices,
      distance: { good: away((s) => 0.6 * s), bad: away((s) => -0.6 * s - 0.3) },
    };
  } finally {
    await source.close();
    await engine.dispose();
  }
}

const learner = (more: string) => `learner: {updates: 600, batchSize: 64, learningRate: 3.e-3, ${more}}`;

describe('learning from fixed data', () => {
  it('imitates all actions by behavior cloning, and the better ones by what is accepted and rejected', async () => {
    const cloned = await train(learner('operatorWeight: 0'));
    const accepted = await train(`operator: {alpha: 1}\n${learner('behaviorCloning: 0')}`);
    const rejected = await train(`operator: {alpha: 0}\n${learner('behaviorCloning: 1')}`);
    const weighted = await train(`operator: {name: crr}\n${learner('behaviorCloning: 0')}`);
    const pushed = await train(`operator: {alpha: 0.5}\n${learner('behaviorCloning: 0.3')}`);
    expect(cloned.distance.good).toBeGreaterThan(0.2);
    expect(cloned.distance.bad).toBeLessThan(0.4);
    for (const { distance } of [accepted, rejected, weighted]) expect(distance.bad).toBeGreaterThan(0.5);
    // b < 1 − α: rejected actions have a negative weight, which drives the policy away from them, past the accepted ones.
    expect(pushed.distance.bad).toBeGreaterThan(accepted.distance.bad + 0.2);
    for (const { distance } of [accepted, rejected, weighted]) expect(distance.good).toBeLessThan(0.15);
    expect(cloned.notices).toEqual([
      expect.stringContaining('main_data.hdf5: 256 transitions, all in memory'),
    ]);
  });

  it.each(['data', 'policy', 'both'])(
    'is the same, bit for bit, if it is stopped and resumed: %s',
    async (actions) => {
      const settings = learner(`actions: ${actions}`).replace('600', '150');
      const whole = await train(settings);
      const stopped = await train(settings, { stopAt: 75 });
      expect([...stopped.checkpoints.keys()]).toEqual([75]);
      const resumed = await train(settings, { resume: stopped.checkpoints.get(75) });
      expect(resumed.checkpoints.get(150)!.tensors).toEqual(whole.checkpoints.get(150)!.tensors);
    },
  );

  it('says that the data takes more memory than it was given', async () => {
    const { notices } = await train(learner('actions: data').replace('600', '2'), { megabytes: 0.001 });
    expect(notices).toContainEqual(
      expect.stringMatching(/take 1 megabytes, more than dataset\.megabytes = 0\.001/),
    );
  });

  it('refuses the checkpoint of another data set', async () => {
    const settings = learner('actions: data').replace('600', '5');
    const { checkpoints } = await train(settings);
    const { tensors, metadata } = checkpoints.get(5)!;
    await expect(train(settings, { resume: checkpoints.get(5), path: otherData })).rejects.toThrow(
      /other\/data\/main_data\.hdf5: it is not the data set .* Resume with the data set/,
    );
    const { dataset: _, ...earlier } = metadata;
    await train(settings, { resume: { tensors, metadata: earlier }, path: otherData });
    const other = { tensors, metadata: { ...metadata, observationSize: 2, layout: undefined } };
    await expect(train(settings, { resume: other })).rejects.toThrow(/Resume with the data set/);
    await expect(
      train(settings, { resume: { tensors, metadata: { ...metadata, job: 'control' } } }),
    ).rejects.toThrow(PmpoError);
  });
});
