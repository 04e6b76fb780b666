import type { Config } from '../../config/schema.js';
import { PmpoError } from '../../core/errors.js';
import type { ExperienceShape } from './experience.js';

/** What a learner and its actors must agree on: everything that gives transitions their shape and their meaning. */
interface Contract {
  readonly [key: string]: unknown;
}

function contractOf({ environment, policy, replay, learner }: Config, shape: ExperienceShape): Contract {
  return {
    format: 1,
    'environment.simulator': environment.simulator ?? null,
    'the size of observations': shape.observationSize,
    'the lower bounds of actions': [...shape.actionMinimum],
    'the upper bounds of actions': [...shape.actionMaximum],
    'the numbers of values of actions': [...shape.actionValues],
    ...Object.fromEntries(Object.entries(policy).map(([key, value]) => [`policy.${key}`, value])),
    'replay.nStep': replay.nStep,
    'learner.discount': learner.discount,
  };
}

/** As it stands in Redis. */
export function contractText(config: Config, shape: ExperienceShape): string {
  return JSON.stringify(contractOf(config, shape));
}

/** @throws PmpoError naming the first thing that this actor has otherwise than the learner. */
export function checkContract(learners: string, config: Config, shape: ExperienceShape): void {
  const theirs = JSON.parse(learners) as Contract;
  const ours = JSON.parse(contractText(config, shape)) as Contract;
  for (const key of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [mine, other] = [ours[key], theirs[key]].map((value) => JSON.stringify(value) ?? 'not there');
    if (mine === other) continue;
    throw new PmpoError({
      where: 'the learner of this run',
      what: `${key} is ${other} there and ${mine} here`,
      remedy: 'Start actors with the configuration of the learner',
    });
  }
}
