import { resolveConfig } from '../../config/load.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { inline, type SimulatorSubject, type StarterOptions, withEnvironment } from './shared.js';

/** A first configuration for a simulator. */

const sized = (name: string, shape: readonly number[]) =>
  shape.length === 0 ? name : `${name} [${shape.join(', ')}]`;
const range = (low: number, high: number) =>
  `${Number(low.toPrecision(6))} to ${Number(high.toPrecision(6))}`;

/** What the policy sees and does, in comments. */
function specLines({
  observationLayout,
  observationSize,
  actionLayout = [],
  actionMinimum,
  actionMaximum,
  actionValues,
}: VectorEnvironment): string[] {
  let start = 0;
  const actions = actionLayout.map(({ name, shape, size }) => {
    const at = start;
    start += size;
    const dimensions = Array.from({ length: size }, (_, i) => {
      const values = actionValues[at + i]!;
      return `${values > 0 ? 'whole numbers from ' : ''}${range(actionMinimum[at + i]!, actionMaximum[at + i]!)}`;
    });
    const bounds = [...new Set(dimensions)];
    return `#   ${sized(name === 'action' ? name : `action ${name}`, shape)}: ${bounds.length === 1 ? bounds[0] : 'bounds of each dimension its own'}`;
  });
  return [
    `# The policy sees ${observationSize} numbers and chooses ${actionValues.length}:`,
    ...observationLayout.parts.map(({ name, shape }) => `#   observation ${sized(name, shape)}`),
    ...actions,
  ];
}

/**
 * The text of a configuration that learns in a simulator. It is connected to, so that the text says what the policy sees and does.
 * @throws PmpoError if the server does not answer or refuses.
 */
export async function controlStarter(
  subject: SimulatorSubject,
  { file, modules, ...options }: StarterOptions,
): Promise<string> {
  const { address, simulator } = subject;
  const environment = [
    ...(address === undefined ? [] : [`  address: ${inline(address)}`]),
    simulator === undefined
      ? '  # simulator: NAME    for a server that has several; without it the server chooses'
      : `  simulator: ${inline(simulator)}`,
  ];
  const { config } = await resolveConfig(file, ['environment:', ...environment, ''].join('\n'), [], {
    modules,
  });
  const { learner, evaluation, operator } = config;
  const specs = await withEnvironment(config, subject, options, specLines);
  if (address !== undefined && simulator === undefined)
    options.notice(
      `No simulator is named: ${address} chose the one whose observations and actions the file says. Name another with --simulator`,
    );
  return `${specs.join('\n')}
environment:
${environment.join('\n')}

# Everything below is a default: a line that you delete changes nothing.

# The operator improves the policy: pmpo, mpo, dpo, kto, … (npx pmpo operators).
operator: { name: ${operator.name} }

learner:
  environmentSteps: ${learner.environmentSteps} # for a short try: npx pmpo train ${file} --set learner.environmentSteps=5000
  batchSize: ${learner.batchSize}

# Episodes with the mean action. The last policy and the best one are kept.
evaluation: { every: ${evaluation.every}, episodes: ${evaluation.episodes} }
`;
}
