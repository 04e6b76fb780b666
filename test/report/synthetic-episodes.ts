import { fillUniform, foldIn, randomKey } from '../../src/core/random-keys.js';
import type { Environment } from '../../src/environments/environment.js';
import { EpisodeRecorder } from '../../src/environments/episode-recorder.js';
import type { EpisodeRecording } from '../../src/environments/episode-recording.js';
import { openRunDirectory } from '../../src/run/run-directory.js';
import { createSimulator } from '../../src/simulators/registry.js';
import { countingEnvironment } from '../support/counting-environment.js';

/** An episode of random actions, recorded. */
export async function randomEpisode(environment: Environment, seed = 0): Promise<EpisodeRecording> {
  const recorder = new EpisodeRecorder({
    notice: (message) => {
      throw new Error(message);
    },
  });
  const recorded = recorder.wrap(environment);
  recorder.start();
  await recorded.reset({ seed });
  const spec = Object.values(recorded.actionSpec)[0]!;
  for (let i = 0, over = false; !over; i++) {
    const data = fillUniform(foldIn(randomKey(seed), i), new Float32Array(spec.shape[0]!)).map(
      (v) => 2 * v - 1,
    );
    const step = await recorded.step({ [spec.name]: { dtype: 'float32', shape: spec.shape, data } });
    over = step.terminated || step.truncated;
  }
  await recorded.close();
  return (await recorder.take())!;
}

/** An episode of an embedded task, of 1,000 steps unless it is said. */
export async function simulatedEpisode(simulator: string, seed = 0, episodeSteps = 1000) {
  return randomEpisode(await createSimulator({ simulator, episodeSteps }), seed);
}

/** An episode of frames that change their color. */
export async function pixelEpisode(): Promise<EpisodeRecording> {
  const inner = countingEnvironment({ length: 60 });
  let shade = 0;
  const shape = [48, 64, 3];
  const observation = () => {
    shade += 4;
    const data = Uint8Array.from({ length: 48 * 64 * 3 }, (_, i) => (i % 3 === 0 ? shade : (i >> 4) % 256));
    return { pixels: { dtype: 'uint8' as const, shape, data } };
  };
  return randomEpisode({
    ...inner,
    observationSpec: { pixels: { name: 'pixels', shape, dtype: 'uint8' } },
    reset: async (options) => ({ ...(await inner.reset(options)), observation: observation() }),
    step: async (action) => ({ ...(await inner.step(action)), observation: observation() }),
  });
}

/** An episode of an environment of which only numbers are known. */
export const numberEpisode = () => randomEpisode(countingEnvironment({ length: 40 }));

/** Writes the episodes of a run's first and last evaluation, whose steps these are. */
export async function writeEpisodes(
  path: string,
  [first, last]: readonly [EpisodeRecording, EpisodeRecording],
  steps: readonly [number, number],
): Promise<void> {
  const directory = await openRunDirectory(path);
  await directory.writeEpisode({ steps: steps[0], updates: steps[0] / 2, episode: first }, false);
  await directory.writeEpisode({ steps: steps[1], updates: steps[1] / 2, episode: last }, true);
}
