import { nearest } from '../registry/nearest.js';
import type { Problem } from './problems.js';
import type { Config } from './schema.js';

/** What the single keys cannot say: settings that contradict one another. Pure; found before anything starts. */
export function crossCheck(config: Config, simulators: readonly string[]): Problem[] {
  const { environment, learner, policy, replay } = config;
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });

  const port = Number(environment.address?.match(/:(\d+)$/)?.[1] ?? 1);
  if (port < 1 || port > 65_535)
    complain('environment.address', `${port} is no port`, 'Give one from 1 to 65535');
  if (environment.address === undefined) {
    if (environment.simulator === undefined) {
      complain(
        'environment',
        'names neither a simulator nor an address',
        `Give environment.simulator (${simulators.join(', ')}) or environment.address (host:port)`,
      );
    } else if (!simulators.includes(environment.simulator)) {
      const guess = nearest(environment.simulator, simulators);
      complain(
        'environment.simulator',
        `there is no embedded simulator '${environment.simulator}'`,
        `${guess === undefined ? '' : `Did you mean '${guess}'? `}Known: ${simulators.join(', ')}. Others are reached by environment.address`,
      );
    }
  }
  if (learner.warmupSteps >= learner.environmentSteps) {
    complain(
      'learner.warmupSteps',
      `${learner.warmupSteps} leaves nothing to learn in: learner.environmentSteps is ${learner.environmentSteps}`,
      'Make it smaller',
    );
  }
  if (environment.actors > learner.environmentSteps) {
    complain(
      'environment.actors',
      `${environment.actors} is more than all environment steps (learner.environmentSteps is ${learner.environmentSteps})`,
    );
  }
  if (replay.capacity < learner.batchSize) {
    complain(
      'replay.capacity',
      `${replay.capacity} holds no batch: learner.batchSize is ${learner.batchSize}`,
      `Give ${learner.batchSize} or more`,
    );
  }
  if (policy.head === 'gaussian' && policy.minStddev >= policy.initialStddev) {
    complain(
      'policy.minStddev',
      `${policy.minStddev} is not below policy.initialStddev, ${policy.initialStddev}: the deviation could never shrink`,
    );
  }
  return problems;
}
