import type { Config } from '../../config/schema.js';
import { type SampleToInsertRatioOptions, smallestErrorBuffer } from '../../replay/rate-limiter.js';

/**
 * How learner and actors keep step when they are apart: by default as they do in one process, one update of B contexts for
 * each `learner.stepsPerUpdate` transitions, and either side ahead by a tenth of the warm-up at most, as in Acme.
 */
export function rateLimits({
  learner,
  replay,
}: Pick<Config, 'learner' | 'replay'>): SampleToInsertRatioOptions {
  const { batchSize, stepsPerUpdate, warmupSteps } = learner;
  const samplesPerInsert = replay.samplesPerInsert ?? batchSize / stepsPerUpdate;
  const minimumInserts = Math.max(1, warmupSteps);
  const errorBuffer =
    replay.errorBuffer ??
    Math.max(2 * smallestErrorBuffer(samplesPerInsert, batchSize), 0.1 * samplesPerInsert * minimumInserts);
  return { samplesPerInsert, minimumInserts, errorBuffer };
}
