import type { VectorEnvironment } from '../../environments/vector-environment.js';

/**
 * Undiscounted returns of whole episodes, ordered by round and, within a round, by environment. Every call starts from
 * episode 0 of each environment, with the same seeds each time, so that two evaluations differ by the policy alone.
 *
 * @param act gives canonical actions [K, A] for observations [K, O].
 * @param signal when aborted, the returns of the episodes that have ended are returned.
 * @throws OutOfStepError if the steps of an episode cannot be trusted; what `environment` throws.
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
  const first = await environment.reset();
  let { observations } = first;
  const finish = (k: number, episodeReturn: number) => {
    if (finished[k].length < quota[k]) finished[k].push(episodeReturn);
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
