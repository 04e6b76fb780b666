import type { Problem } from '../core/schema-problems.js';
import type { Operator } from '../operators/operator.js';
import type { OfflineConfig } from './offline-schema.js';

/** Settings of an offline job that contradict each other, or that make its objective unbounded. */

/** Finds settings that are valid one by one and contradict each other. */
export function offlineProblems({ learner, dataset }: OfflineConfig): Problem[] {
  const problems: Problem[] = [];
  if (learner.operatorWeight === 0 && learner.behaviorCloning === 0) {
    problems.push({
      path: ['learner', 'operatorWeight'],
      what: 'is 0, and so is learner.behaviorCloning: the policy would never change',
      remedy: 'Set one of them',
    });
  }
  const { actionBounds, actionValues } = dataset;
  if (actionBounds !== undefined && actionValues !== undefined) {
    problems.push({
      path: ['dataset', 'actionValues'],
      what: 'does not go with dataset.actionBounds: whole numbers count from 0',
      remedy: 'Remove one of them',
    });
  }
  if (actionBounds !== undefined && actionBounds[0] >= actionBounds[1]) {
    problems.push({
      path: ['dataset', 'actionBounds'],
      what: `${actionBounds[0]} is not below ${actionBounds[1]}`,
      remedy: 'Write the smallest action first, such as [-1, 1]',
    });
  }
  return problems;
}

/** A share of rejected actions that is not known before the run is most often about a half. */
const usualShare = 0.5;

const rounded = (value: number) => Number(value.toPrecision(3));

/**
 * Warns of an operator that lowers the likelihood of rejected actions of the data further than behavior cloning holds it. The KL of the
 * operator's reference, a copy of the policy, does not bound that: each copy may be lower than the one before. With the weight b of
 * behavior cloning and a share ρ of rejected actions, the weight on the log-likelihood of rejected ones is b·ρ − w·(1 − α), where the
 * operator takes the mean over the rejected actions of the batch, and (b − w·(1 − α))·ρ where it takes means in each context.
 * @param own the operator's own warnings, which are about samples of the reference: they do not apply to the data's own actions alone.
 */
export function offlineWarnings(
  { learner, operator: settings }: OfflineConfig,
  operator: Operator,
  rejectShare: number | undefined,
  own: readonly string[],
): readonly string[] {
  if (learner.actions === 'policy' || operator.needs.rejectsReferenceSamples !== true) return own;
  const ofSamples = learner.actions === 'both' ? own : [];
  const { alpha } = operator.name === 'pmpo' ? (settings as { alpha?: number }) : {};
  const ofRejects = learner.operatorWeight * (1 - (alpha ?? 0.5));
  const isBatch = settings.normalise === 'batch';
  const needed = rounded(isBatch ? ofRejects / (rejectShare ?? usualShare) : ofRejects);
  if (learner.behaviorCloning >= needed || ofRejects === 0) return ofSamples;
  const share = isBatch && rejectShare === undefined ? ' where half of the actions are rejected' : '';
  return [
    `learner.behaviorCloning = ${learner.behaviorCloning}: the likelihood of rejected actions of the data falls without end${share}, because no KL to a copy of the policy bounds it. learner.behaviorCloning ≥ ${needed} does`,
    ...ofSamples,
  ];
}
