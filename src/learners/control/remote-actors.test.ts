import { describe, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { RequestFailedError } from '../../core/errors.js';
import { randomKey } from '../../core/random-keys.js';
import { createFamily } from '../../distributions/create.js';
import { createVectorEnvironment } from '../../environments/create-vector-environment.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { ChunkBuilder } from '../../replay/redis/packing.js';
import type { StoredChunk } from '../../replay/redis/replay-reader.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { ActingLoop } from './acting-loop.js';
import { Averages } from './averages.js';
import { RemoteActors, type RemoteReplay } from './remote-actors.js';

const actionRepeat = 4;
const config = controlConfig({
  learner: { environmentSteps: 100, warmupSteps: 20, stepsPerUpdate: 4, batchSize: 8 },
  replay: { nStep: 3 },
});

/** Two environments with episodes of 10 simulator steps: their actions are held for 4, 4 and 2 steps. */
function environments(fail?: (seed: number, count: number) => Error | undefined): Promise<VectorEnvironment> {
  return createVectorEnvironment({
    connect: async () => countingEnvironment({ length: 10, fail }),
    numEnvs: 2,
    actionRepeat,
    episodeSeed: (env, episode) => env * 1000 + episode,
    reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
    notice: () => {},
  });
}

async function actingLoop(environment: VectorEnvironment): Promise<ActingLoop> {
  const loop = new ActingLoop({
    config,
    environment,
    family: createFamily(config.policy, environment.actionValues),
    key: randomKey(0),
    act: async () => new Float32Array(2),
    sink: () => {},
    onEpisode: () => {},
  });
  await loop.reset();
  return loop;
}

describe('the steps behind the transitions of an actor', () => {
  it('are those for which each action was held', async () => {
    const loop = await actingLoop(await environments());
    const seen: [number, number][] = [];
    for (let t = 0; t < 7; t++) {
      const { stepped } = await loop.startStep(t, 0);
      loop.record(await stepped);
      seen.push([loop.transitions, loop.transitionSteps]);
    }
    // Windows are open for 3 actions, and the end of an episode closes them.
    expect(seen).toEqual([
      [0, 0],
      [0, 0],
      [6, 20],
      [6, 20],
      [6, 20],
      [12, 40],
      [12, 40],
    ]);
  });

  it('include those of a step that was lost', async () => {
    // The sixth simulator step fails, in the second action of each first episode.
    const fail = (seed: number, count: number) =>
      seed % 1000 === 0 && count === 6 ? new RequestFailedError({ what: 'it failed' }) : undefined;
    const loop = await actingLoop(await environments(fail));
    let steps = 0;
    for (let t = 0; t < 5; t++) {
      const { stepped } = await loop.startStep(t, 0);
      steps += loop.record(await stepped);
    }
    expect(loop.transitions).toBe(2 * (1 + 3));
    expect(loop.transitionSteps).toBe(2 * (4 + 2 + 10));
    expect(steps).toBe(loop.transitionSteps);
  });
});

/** A replay of which the actors always insert chunks of three transitions of 10 steps, as far as the learner allows. */
function replay(environment: VectorEnvironment) {
  const stored: StoredChunk[] = [];
  const reports: { readonly allowed: number; readonly limit: number }[] = [];
  const builder = new ChunkBuilder(environment, 3);
  let inserted = 0;
  const insert = (allowed: number, limit: number) => {
    while (inserted < Math.min(allowed, limit)) {
      for (let i = 0; i < 3; i++)
        builder.add(new Float32Array(3), new Float32Array(1), 1, 0.9, new Float32Array(3));
      inserted += 3;
      const sequence = stored.length + 1;
      const facts = { id: String(sequence), actor: 'a', sequence, inserted };
      stored.push({ ...facts, count: 3, steps: 10, updates: 0, episodes: [], rows: builder.take() });
    }
  };
  const reader: RemoteReplay['reader'] = {
    attach: async () => 'started',
    publish: async () => {},
    trim: async () => {},
    finish: async () => {},
    close: async () => {},
    read: async (position, count) => stored.slice(Number(position), Number(position) + count),
    report: async (_taken, allowed, limit) => {
      reports.push({ allowed, limit });
      insert(allowed, limit);
      return { chunks: stored.length, inserted };
    },
  };
  return { remote: { reader, token: 't', label: 'l', simulator: undefined }, reports, stored };
}

describe('a learner of remote actors', () => {
  const learner = (environment: VectorEnvironment, remote: RemoteReplay, received: () => void = () => {}) =>
    new RemoteActors({
      config,
      shape: environment,
      remote,
      readPolicy: async () => ({}),
      sink: received,
      averages: new Averages(),
      notice: () => {},
      clock: () => 0,
    });

  /** Learns until the run is over, as a job does. */
  async function run(actors: RemoteActors, from = 0) {
    let [steps, updates] = [from, actors.updatesDue(from)];
    for (let i = 0; i < 200 && steps < config.learner.environmentSteps; i++) {
      const { arrived } = await actors.gather({ environmentSteps: steps, updates });
      updates = Math.max(updates, actors.updatesAllowed(steps));
      steps += (await arrived)();
    }
    return { steps, updates: Math.max(updates, actors.updatesDue(steps)) };
  }

  it('counts the steps that were taken, and asks for more transitions if they were cut short', async () => {
    const environment = await environments();
    const { remote, reports } = replay(environment);
    let transitions = 0;
    const actors = learner(environment, remote, () => {
      transitions += 1;
    });
    await actors.begin();
    const { steps, updates } = await run(actors);
    // 100 steps are 25 whole repetitions, but 30 transitions here.
    expect(steps).toBe(100);
    expect(transitions).toBe(30);
    expect(reports[0].limit).toBe(25);
    // One update for each 4 steps after the warm-up, as in one process.
    expect(updates).toBe((100 - 20) / 4);
  });

  it('resumes with both counts, also from a checkpoint that has only steps', async () => {
    const environment = await environments();
    const { remote, reports } = replay(environment);
    const first = learner(environment, remote);
    await first.begin();
    // Nothing is there before the first report has allowed it.
    for (const expected of [0, 10]) {
      const { arrived } = await first.gather({ environmentSteps: 0, updates: 0 });
      expect((await arrived)()).toBe(expected);
    }
    const { metadata } = first.snapshot();
    const checkpoint = (remoteState: object): Checkpoint => ({
      tensors: {},
      metadata: { remote: remoteState, counters: { environmentSteps: 10 } },
    });
    const saved = metadata.remote as { taken?: number };
    expect(saved.taken).toBe(3);
    const second = learner(environment, remote);
    await second.begin(checkpoint(saved));
    expect((await run(second, 10)).steps).toBe(100);
    expect(reports.at(-1)!.limit).toBeGreaterThanOrEqual(30);
    const { taken: _, ...former } = saved;
    await learner(environment, replay(environment).remote).begin(checkpoint(former));
  });
});
