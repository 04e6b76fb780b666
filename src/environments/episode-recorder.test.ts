import { describe, expect, it } from 'vitest';
import { countingEnvironment } from '../../test/support/counting-environment.js';
import { unpackBytes, unpackNumbers } from '../core/packed-numbers.js';
import type { Scene } from '../core/scene.js';
import type { Environment } from './environment.js';
import { EpisodeRecorder } from './episode-recorder.js';
import { imageLayout } from './episode-sights.js';

const push = { push: { dtype: 'float32' as const, shape: [1], data: Float32Array.of(0.5) } };
const scene: Scene = {
  bodies: 1,
  geoms: [{ shape: 'sphere', size: [0.1, 0, 0], body: 0, position: [0, 0, 0], rotation: [1, 0, 0, 0] }],
  meshes: [],
};

/** Plays to the end of an episode. @returns the number of steps. */
async function play(environment: Environment): Promise<number> {
  await environment.reset({ seed: 1 });
  for (let steps = 1; ; steps++) {
    const { terminated, truncated } = await environment.step(push);
    if (terminated || truncated) return steps;
  }
}

function recorder() {
  const notices: string[] = [];
  return { notices, recorder: new EpisodeRecorder({ notice: (message) => notices.push(message) }) };
}

describe('EpisodeRecorder', () => {
  it('records the first whole episode after its start, and nothing else', async () => {
    const { recorder: episodes } = recorder();
    const environment = episodes.wrap(countingEnvironment({ length: 4, end: 'terminated' }));
    await play(environment);
    expect(await episodes.take()).toBeUndefined();
    episodes.start();
    await play(environment);
    await play(environment);
    const recording = (await episodes.take())!;
    expect(recording).toMatchObject({ return: 1 + 2 + 3 + 4, steps: 4, every: 1, terminated: true });
    expect([...unpackNumbers(recording.rewards)].map((v) => Math.round(v * 100) / 100)).toEqual([
      0, 1, 2, 3, 4,
    ]);
    expect(recording.observations!.names).toEqual(['state[0]', 'state[1]', 'state[2]']);
    const counts = unpackNumbers(recording.observations!.values).filter((_, i) => i % 3 === 1);
    expect([...counts].map(Math.round)).toEqual([0, 1, 2, 3, 4]);
    expect(recording.actions!.names).toEqual(['push']);
    expect(await episodes.take()).toBeUndefined();
  });

  it('does not change what is played', async () => {
    const plain = countingEnvironment({ length: 7 });
    const { recorder: episodes } = recorder();
    const recorded = episodes.wrap(countingEnvironment({ length: 7 }));
    episodes.start();
    expect(await recorded.reset({ seed: 3 })).toEqual(await plain.reset({ seed: 3 }));
    for (let i = 0; i < 7; i++) expect(await recorded.step(push)).toEqual(await plain.step(push));
  });

  it('records the poses of a scene, without waiting for them', async () => {
    const { recorder: episodes } = recorder();
    const inner = countingEnvironment({ length: 5 });
    let steps = 0;
    const waiting: (() => void)[] = [];
    const environment = episodes.wrap({
      ...inner,
      step: (action) => {
        steps += 1;
        return inner.step(action);
      },
      scene: async () => scene,
      poses: () => {
        const at = steps;
        return new Promise((resolve) => waiting.push(() => resolve(Float32Array.of(at, 0, 0, 1, 0, 0, 0))));
      },
    });
    episodes.start();
    await play(environment);
    for (const answer of waiting) answer();
    const recording = (await episodes.take())!;
    expect(recording.scene).toEqual(scene);
    expect(recording.observations).toBeUndefined();
    const poses = unpackNumbers(recording.poses!);
    expect([...poses].filter((_, i) => i % 7 === 0).map(Math.round)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('thins long episodes, so that a recording stays small', async () => {
    const { recorder: episodes } = recorder();
    const environment = episodes.wrap({
      ...countingEnvironment({ length: 5000 }),
      scene: async () => ({ ...scene, bodies: 30 }),
      poses: async () => Float32Array.from({ length: 210 }, () => Math.random()),
    });
    episodes.start();
    await play(environment);
    const recording = (await episodes.take())!;
    expect(recording.steps).toBe(5000);
    expect(recording.every).toBe(8);
    expect(recording.poses!.rows).toBe(626);
    expect(JSON.stringify(recording).length).toBeLessThan(450_000);
    expect(recording.return).toBe((5000 * 5001) / 2);
  });

  it('starts again after a step that failed, and says once when it cannot look', async () => {
    const { recorder: episodes, notices } = recorder();
    let fails = true;
    const environment = episodes.wrap(
      countingEnvironment({
        length: 3,
        fail: (_, count) => (fails && count === 2 ? new Error('gone') : undefined),
      }),
    );
    episodes.start();
    await expect(play(environment)).rejects.toThrow('gone');
    fails = false;
    await play(environment);
    expect(await episodes.take()).toMatchObject({ steps: 3 });

    const blind = episodes.wrap({
      ...countingEnvironment(),
      scene: async () => scene,
      poses: async () => Promise.reject(new Error('no poses')),
    });
    for (let i = 0; i < 2; i++) {
      episodes.start();
      await play(blind);
      expect(await episodes.take()).toBeUndefined();
    }
    expect(notices).toEqual(['the episode is not recorded: no poses']);
  });

  it('ends the recording of an episode that the player cuts', async () => {
    const { recorder: episodes } = recorder();
    const environment = episodes.wrap(countingEnvironment({ length: 100 }));
    episodes.start();
    await environment.reset();
    await environment.step(push);
    await environment.step(push);
    await environment.reset();
    expect(await episodes.take()).toMatchObject({ steps: 2, terminated: false });
  });

  it('records the frames of an image', async () => {
    const { recorder: episodes } = recorder();
    const inner = countingEnvironment({ length: 2 });
    let shade = 0;
    const pixels = () => ({
      pixels: {
        dtype: 'uint8' as const,
        shape: [20, 30, 3],
        data: Uint8Array.from({ length: 1800 }, (_, i) => (i % 3 === 0 ? shade : 0)),
      },
    });
    const environment = episodes.wrap({
      ...inner,
      observationSpec: { pixels: { name: 'pixels', shape: [20, 30, 3], dtype: 'uint8' } },
      reset: async () => ({ ...(await inner.reset()), observation: pixels() }),
      step: async (action) => {
        shade += 100;
        return { ...(await inner.step(action)), observation: pixels() };
      },
    });
    episodes.start();
    await play(environment);
    const { frames } = (await episodes.take())!;
    expect(frames).toMatchObject({ name: 'pixels', width: 30, height: 20, channels: 3 });
    const bytes = unpackBytes(frames!.data);
    expect([0, 1800, 3600].map((at) => bytes[at])).toEqual([0, 100, 200]);
    expect(bytes[1]).toBe(0);
  });
});

it('keeps fewer frames of an image that changes everywhere', async () => {
  const { recorder: episodes } = recorder();
  const inner = countingEnvironment({ length: 120 });
  const shape = [128, 128, 3];
  let state = 1;
  const noise = () => {
    // Xorshift: deflate finds nothing in it.
    const data = Uint8Array.from({ length: 128 * 128 * 3 }, () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state & 255;
    });
    return { pixels: { dtype: 'uint8' as const, shape, data } };
  };
  const environment = episodes.wrap({
    ...inner,
    observationSpec: { pixels: { name: 'pixels', shape, dtype: 'uint8' } },
    reset: async () => ({ ...(await inner.reset()), observation: noise() }),
    step: async (action) => ({ ...(await inner.step(action)), observation: noise() }),
  });
  episodes.start();
  await play(environment);
  const recording = (await episodes.take())!;
  expect(Buffer.byteLength(JSON.stringify(recording))).toBeLessThan(620_000);
  const kept = unpackBytes(recording.frames!.data).length / (128 * 128 * 3);
  expect(kept).toBeGreaterThan(4);
  // The rewards have a moment for each frame, and add up to the return.
  expect(recording.rewards.rows).toBe(kept);
  expect(kept).toBe(Math.floor(120 / recording.every) + 1);
});

describe('imageLayout', () => {
  const layout = (shape: number[], dtype: 'uint8' | 'float32' = 'uint8') => {
    const found = imageLayout({ name: 'x', shape, dtype });
    return found && [found.width, found.height, found.channels, found.offset];
  };

  it('takes bytes with rows, columns and channels in either order, and of a stack of images the last', () => {
    expect(layout([64, 96, 3])).toEqual([96, 64, 3, 0]);
    expect(layout([3, 64, 96])).toEqual([96, 64, 3, 0]);
    expect(layout([64, 96])).toEqual([96, 64, 1, 0]);
    expect(layout([4, 84, 84])).toEqual([84, 84, 1, 3 * 84 * 84]);
    expect(layout([84, 84, 4])).toEqual([84, 84, 1, 3]);
    expect(layout([84, 84, 3], 'float32')).toBeUndefined();
    expect(layout([10, 5])).toBeUndefined();
  });
});
