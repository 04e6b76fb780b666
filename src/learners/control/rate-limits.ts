import { type SampleToInsertRatioOptions, smallestErrorBuffer } from '../../replay/rate-limiter.js';
import type { ControlLearnerConfig } from './config.js';

/**
 * How a learner and its remote actors keep pace, in whole repetitions of actions, or transitions. By default they do as in one process: one update of B contexts for
 * each `learner.stepsPerUpdate` environment steps, with either side ahead by at most a tenth of the warm-up, as in Acme.
 * @param actionRepeat the environment steps of a repetition.
 */
export function rateLimits(
  { learner, replay }: Pick<ControlLearnerConfig, 'learner' | 'replay'>,
  actionRepeat: number,
): SampleToInsertRatioOptions {
  const { batchSize, stepsPerUpdate, warmupSteps } = learner;
  const samplesPerInsert = replay.samplesPerInsert ?? (batchSize * actionRepeat) / stepsPerUpdate;
  const minimumInserts = Math.max(1, Math.ceil(warmupSteps / actionRepeat));
  const errorBuffer =
    replay.errorBuffer ??
    Math.max(2 * smallestErrorBuffer(samplesPerInsert, batchSize), 0.1 * samplesPerInsert * minimumInserts);
  return { samplesPerInsert, minimumInserts, errorBuffer };
}
