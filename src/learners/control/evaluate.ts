import { RequestFailedError } from '../../core/errors.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';

/** The episodes of one environment that may be lost in a row. */
const maxLost = 10;

/**
 * Undiscounted returns of whole episodes, ordered by round and, within a round, by environment. Every call starts from
 * episode 0 of each environment, with the same seeds each time, so that two evaluations differ by the policy alone.
 *
 * @param act gives canonical actions [K, A] for observations [K, O].
 * @param signal when aborted, the returns of the episodes that have ended are returned.
 * @throws RequestFailedError if the simulator of one environment fails, or its connection is lost, in episode after episode;
 *   OutOfStepError if the steps of an episode cannot be trusted; what `environment` throws.
 */
export async function episodeReturns(
  environment: VectorEnvironment,
  episodes: number,
  act: (observations: Float32Array) => Promise<Float32Array>,
  signal?: AbortSignal,
): Promise<number[]> {
  const { numEnvs } = environment;
  // Environment k plays episodes k, k + K, …, so that the episodes that count do not depend on which ends first.
  const quota = Array.from({ length: numEnvs }, (_, k) => Math.ceil((episodes - k) / numEnvs));
  const finished: number[][] = quota.map(() => []);
  const running = new Float64Array(numEnvs);
  const lostInARow = new Int32Array(numEnvs);
  const first = await environment.reset();
  let { observations } = first;
  const finish = (k: number, episodeReturn: number) => {
    lostInARow[k] = 0;
    if (finished[k].length < quota[k]) finished[k].push(episodeReturn);
  };
  /** A simulator that fails before the end of every episode would be evaluated for ever. */
  const noteLost = (k: number) => {
    lostInARow[k] += 1;
    if (lostInARow[k] < maxLost || finished[k].length === quota[k]) return;
    throw new RequestFailedError({
      where: `evaluation, environment ${k}`,
      what: `${maxLost} episodes in a row did not come to their end, because the simulator failed or the connection was lost`,
      remedy: 'Mend the simulator: the notices before this one say what failed',
    });
  };
  /** Episodes that are over at their reset have the return 0. */
  const finishEmpty = (k: number, count: number) => {
    for (let i = 0; i < count; i++) finish(k, 0);
  };
  for (let k = 0; k < numEnvs; k++) finishEmpty(k, first.emptyEpisodes[k]);
  while (finished.some((returns, k) => returns.length < quota[k])) {
    if (signal?.aborted) break;
    const step = await environment.step(await act(observations));
    for (let k = 0; k < numEnvs; k++) {
      if (step.ready[k] === 0) continue;
      running[k] += step.rewards[k];
      // An episode that was lost never ended; the new one that follows takes its place.
      if (step.terminated[k] || step.truncated[k]) finish(k, running[k]);
      if (step.terminated[k] || step.truncated[k] || step.lost[k]) running[k] = 0;
      if (step.lost[k]) noteLost(k);
      finishEmpty(k, step.emptyEpisodes[k]);
    }
    observations = step.currentObservations;
  }
  await environment.verifySteps();
  const rounds = Math.max(...quota);
  return Array.from({ length: rounds }, (_, round) =>
    finished.flatMap((f) => f.slice(round, round + 1)),
  ).flat();
}
