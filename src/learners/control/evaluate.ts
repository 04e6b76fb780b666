import type { VectorEnvironment } from '../../environments/vector-environment.js';

/**
 * Undiscounted returns of whole episodes, ordered by round and, within a round, by environment. Every call starts from
 * episode 0 of each environment, with the same seeds each time, so that two evaluations differ by the policy alone.
 *
 * @param act gives canonical actions [K, A] for observations [K, O].
 * @param signal when aborted, the returns of the episodes that have ended are returned.
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
  let observations = await environment.reset();
  while (finished.some((returns, k) => returns.length < quota[k])) {
    if (signal?.aborted) break;
    const step = await environment.step(await act(observations));
    for (let k = 0; k < numEnvs; k++) {
      if (step.ready[k] === 0) continue;
      if (step.lost[k]) {
        // The episode never ended; the new one that follows takes its place.
        running[k] = 0;
        continue;
      }
      running[k] += step.rewards[k];
      if (step.terminated[k] || step.truncated[k]) {
        if (finished[k].length < quota[k]) finished[k].push(running[k]);
        running[k] = 0;
      }
    }
    observations = step.currentObservations;
  }
  const rounds = Math.max(...quota);
  return Array.from({ length: rounds }, (_, round) =>
    finished.flatMap((f) => f.slice(round, round + 1)),
  ).flat();
}
