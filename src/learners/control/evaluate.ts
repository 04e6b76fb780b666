import type { VectorEnvironment } from '../../environments/vector-environment.js';

/**
 * Undiscounted returns of whole episodes, in the order of (round, world). Every call starts from episode 0 of each world:
 * the same seeds each time, so that two evaluations differ by the policy alone.
 *
 * @param act canonical actions [K, A] for observations [K, O]
 */
export async function episodeReturns(
  environment: VectorEnvironment,
  episodes: number,
  act: (observations: Float32Array) => Promise<Float32Array>,
  signal?: AbortSignal,
): Promise<number[]> {
  const { numEnvs } = environment;
  // World k plays episodes k, k + K, …: which ones count does not depend on who finishes first.
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
        // The episode never ended; the fresh one that follows takes its place.
        running[k] = 0;
        continue;
      }
      running[k] += step.rewards[k];
      if (step.terminated[k] || step.truncated[k]) {
        if (finished[k].length < quota[k]) finished[k].push(running[k]);
        running[k] = 0;
      }
    }
    observations = step.observations;
  }
  const rounds = Math.max(...quota);
  return Array.from({ length: rounds }, (_, round) =>
    finished.flatMap((f) => f.slice(round, round + 1)),
  ).flat();
}

/** Mean and (population) standard deviation. */
export function meanAndStd(values: readonly number[]): { mean: number; std: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance) };
}
