import { PmpoError } from '../../core/errors.js';
import type { ActorConfig } from './config.js';
import type { ExperienceShape } from './experience.js';
import { returnSteps } from './return-steps.js';

/**
 * The settings that a learner and its actors must have in common: everything that determines the shape and the meaning of
 * transitions. The learner publishes them in Redis as JSON, and every actor compares them with its own.
 */
export interface SharedSettingsSource {
  readonly config: Pick<ActorConfig, 'policy' | 'replay' | 'learner'>;
  readonly shape: ExperienceShape;
  /** `environment.simulator` of the configuration. */
  readonly simulator: string | undefined;
}

type SharedSettings = Readonly<Record<string, unknown>>;

function sharedSettings({
  config: { policy, replay, learner },
  shape,
  simulator,
}: SharedSettingsSource): SharedSettings {
  return {
    format: 3,
    'environment.simulator': simulator ?? null,
    'environment.actionRepeat': shape.actionRepeat,
    'the size of observations': shape.observationSize,
    'the layout of observations': shape.observationLayout.parts,
    'the lower bounds of actions': [...shape.actionMinimum],
    'the upper bounds of actions': [...shape.actionMaximum],
    'the numbers of values of actions': [...shape.actionValues],
    ...Object.fromEntries(Object.entries(policy).map(([key, value]) => [`policy.${key}`, value])),
    'replay.nStep': returnSteps(replay, shape.actionValues),
    'learner.discount': learner.discount,
  };
}

/** The shared settings as they are written to Redis. */
export function sharedSettingsText(source: SharedSettingsSource): string {
  return JSON.stringify(sharedSettings(source));
}

/** @throws PmpoError naming the first setting in which this actor differs from the learner, whose settings are `learners`. */
export function checkSharedSettings(learners: string, source: SharedSettingsSource): void {
  const theirs = JSON.parse(learners) as SharedSettings;
  const ours = JSON.parse(sharedSettingsText(source)) as SharedSettings;
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [mine, other] = [ours[key], theirs[key]].map((value) => JSON.stringify(value) ?? 'absent');
    if (mine === other) continue;
    throw new PmpoError({
      where: 'the learner of this run',
      what: `${key} is ${other} there and ${mine} here`,
      remedy:
        key === 'format'
          ? 'Run the learner and its actors with the same version of pmpo'
          : 'Start actors with the configuration of the learner',
    });
  }
}
