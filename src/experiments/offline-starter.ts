import { dirname, relative } from 'node:path';
import { stringify } from 'yaml';
import { resolveJob } from '../config/load.js';
import { PmpoError, StoppedError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { isGroup } from '../core/key-path.js';
import { openTransitions } from '../datasets/transitions/open.js';
import type { TransitionSource } from '../datasets/transitions/source.js';
import { areBounded } from '../learners/offline/data-shape.js';
import { simulators } from '../simulators/registry.js';
import type { PublicModules } from '../system/user-module.js';

/** A first configuration for someone's data set of transitions. */

/** The data set, and the simulator in which the policy is evaluated, if there is one. */
export interface OfflineSubject {
  readonly dataset: string;
  readonly address?: string;
  readonly simulator?: string;
}

/** What `offlineStarter` needs. */
export interface OfflineStarterOptions {
  /** The path at which the configuration will be written. */
  readonly file: string;
  readonly modules?: PublicModules;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/** A value as YAML on one line. */
const inline = (value: unknown) =>
  stringify(value, { collectionStyle: 'flow', flowCollectionPadding: true, lineWidth: 0 }).trim();

/** The least and the greatest number among the actions of the data, and whether all are whole numbers from 0. */
async function actionRange(
  source: TransitionSource,
  signal?: AbortSignal,
): Promise<{ readonly low: number; readonly high: number; readonly areWhole: boolean }> {
  let [low, high, areWhole] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, true];
  for (const block of source.blocks.keys()) {
    if (signal?.aborted) throw new StoppedError({ where: source.where, what: 'stopped: nothing is written' });
    for (const { actions } of await source.read(block)) {
      for (const values of Object.values(actions)) {
        for (let i = 0; i < values.length; i++) {
          const value = Number(values[i]);
          low = Math.min(low, value);
          high = Math.max(high, value);
          areWhole &&= Number.isInteger(value) && value >= 0;
        }
      }
    }
  }
  return { low, high, areWhole };
}

/** The setting that bounds the actions where neither the file nor an environment does, with a comment. */
async function boundLines(source: TransitionSource, signal?: AbortSignal): Promise<string[]> {
  const { low, high, areWhole } = await actionRange(source, signal);
  if (!(low < high))
    throw new PmpoError({
      where: source.where,
      what: `every action is ${low}, so that nothing bounds them`,
      remedy:
        'Name the simulator that they are for with --simulator, and with --address if it is on a server',
    });
  return areWhole
    ? [
        `  # The file does not say what its actions are. They are whole numbers up to ${high}: choices, as this takes them. For numbers`,
        `  # on a scale set actionBounds: [${low}, ${high}] instead.`,
        `  actionValues: ${high + 1}`,
      ]
    : [
        '  # The file does not bound its actions. These are the least and the greatest in it: set the bounds of the simulator.',
        `  actionBounds: [${low}, ${high}]`,
      ];
}

/** The environment in which the data was recorded, if the file says it and this program has its simulator. */
function recordedEmbedded({ recordedIn }: TransitionSource): Readonly<Record<string, unknown>> | undefined {
  if (!isGroup(recordedIn) || typeof recordedIn.simulator !== 'string') return undefined;
  return simulators.names().includes(recordedIn.simulator) ? recordedIn : undefined;
}

/**
 * The text of a configuration that learns from a data set of transitions. It is opened, so that the text says what it holds.
 * @throws PmpoError if it cannot be read, or does not bound its actions and nothing else does.
 */
export async function offlineStarter(
  { dataset, address, simulator }: OfflineSubject,
  { file, modules, notice, signal }: OfflineStarterOptions,
): Promise<string> {
  const source = await openTransitions(dataset);
  try {
    const named = {
      ...(address === undefined ? {} : { address }),
      ...(simulator === undefined ? {} : { simulator }),
    };
    const environment = Object.keys(named).length > 0 ? named : recordedEmbedded(source);
    const transitions = source.blocks.reduce((sum, block) => sum + block.transitions, 0);
    const found = `${dataset}: ${formatCount(transitions)} transitions (${source.format})`;
    notice(found);
    const bounds =
      areBounded(source.actionSpecs) || environment !== undefined ? [] : await boundLines(source, signal);
    const settings = [
      'dataset:',
      `  file: ${inline(relative(dirname(file), dataset) || '.')}`,
      ...bounds,
      '',
      ...(environment === undefined
        ? [
            '# Evaluates the policy. Without it, it is trained and not evaluated.',
            '# environment: { simulator: NAME, address: 127.0.0.1:50051 }',
          ]
        : ['# Evaluates the policy. Nothing is learned from it.', `environment: ${inline(environment)}`]),
      '',
    ].join('\n');
    const job = await resolveJob(file, settings, [], { modules });
    if (job.kind !== 'offline') throw new Error('a configuration with a data set is one of an offline job');
    const { learner, evaluation } = job.config;
    return `# ${found}. \`npx pmpo data ${file}\` describes them.
${settings}
# Actions that are better than the policy are accepted, and those that are worse rejected; α is the share of the accepted ones.
operator: { name: pmpo, alpha: 0.5 }

# Everything below is a default: a line that you delete changes nothing.
learner:
  updates: ${learner.updates}
  batchSize: ${learner.batchSize}
  behaviorCloning: ${learner.behaviorCloning} # holds the policy to the data; docs/offline.md says what other weights do

evaluation: { every: ${evaluation.every}, episodes: ${evaluation.episodes} }
`;
  } finally {
    await source.close();
  }
}
