import { type ResolvedOfflineConfig, resolveJob } from '../../config/load.js';
import { PmpoError, StoppedError } from '../../core/errors.js';
import { formatCount } from '../../core/format.js';
import { isGroup } from '../../core/key-path.js';
import { openTransitions } from '../../datasets/transitions/open.js';
import { sizeOf, type TransitionSource } from '../../datasets/transitions/source.js';
import { shapeOf } from '../../learners/control/policy.js';
import { areBounded, dataShape } from '../../learners/offline/data-shape.js';
import { simulators } from '../../simulators/registry.js';
import { inline, pathFrom, type SimulatorSubject, type StarterOptions, withEnvironment } from './shared.js';

/** A first configuration for transitions. */

/** A data set, a file or a folder; and, for transitions, the simulator in which the policy is evaluated, if there is one. */
export interface OfflineSubject extends SimulatorSubject {
  readonly dataset: string;
}

/** The numbers that one dimension of the actions has in the data. */
interface ActionRange {
  /** `action`, or `action[3]`. */
  readonly name: string;
  low: number;
  high: number;
  /** The whole numbers from 0 among them, up to `mostChoices`; undefined if there is any other number. */
  choices: Set<number> | undefined;
}

/** More whole numbers than this are taken for numbers on a scale. */
const mostChoices = 32;

/** The ranges of all dimensions, from all of the data. @throws StoppedError when aborted. */
async function actionRanges(source: TransitionSource, signal?: AbortSignal): Promise<ActionRange[]> {
  const parts = Object.entries(source.actionSpecs).map(([name, spec]) => {
    const size = sizeOf(spec);
    const ranges = Array.from(
      { length: size },
      (_, i): ActionRange => ({
        name: size === 1 ? name : `${name}[${i}]`,
        low: Number.POSITIVE_INFINITY,
        high: Number.NEGATIVE_INFINITY,
        choices: new Set(),
      }),
    );
    return { name, ranges };
  });
  for (const block of source.blocks.keys()) {
    if (signal?.aborted) throw new StoppedError({ where: source.where, what: 'stopped: nothing is written' });
    for (const { actions } of await source.read(block)) {
      for (const { name, ranges } of parts) {
        const values = actions[name]!;
        for (let i = 0; i < values.length; i++) widen(ranges[i % ranges.length]!, Number(values[i]));
      }
    }
  }
  return parts.flatMap(({ ranges }) => ranges);
}

function widen(range: ActionRange, value: number): void {
  range.low = Math.min(range.low, value);
  range.high = Math.max(range.high, value);
  range.choices?.add(value);
  const isChoice = Number.isInteger(value) && value >= 0 && value < mostChoices;
  if (!isChoice) range.choices = undefined;
}

/** The setting that says what actions are where neither the file nor an environment does, with comments. */
async function actionLines(source: TransitionSource, signal?: AbortSignal): Promise<string[]> {
  const ranges = await actionRanges(source, signal);
  const low = Math.min(...ranges.map((range) => range.low));
  const high = Math.max(...ranges.map((range) => range.high));
  if (!(low < high))
    throw new PmpoError({
      where: source.where,
      what: `every action is ${low}, so that nothing bounds them`,
      remedy: 'Name the simulator that they are for with --simulator, or one on a server with --address too',
    });
  const [first] = ranges;
  // One number that takes each whole value from 0 up is a choice. 0, 50 and 100 are more likely a torque, and two numbers of 0 and 1
  // may be a one-hot vector.
  if (ranges.length === 1 && first!.choices?.size === high + 1)
    return [
      `  # The file does not say what its actions are. They are whole numbers from 0 to ${high}: choices, as this takes them. For`,
      `  # numbers on a scale set actionBounds: [${low}, ${high}] in place of this.`,
      `  actionValues: ${high + 1}`,
    ];
  const differing = ranges.filter((range) => range.low !== low || range.high !== high);
  const said = ranges.slice(0, 6).map(({ name, low: from, high: to }) => `${name} ${from} to ${to}`);
  return [
    '  # The file does not bound its actions. These are the least and the greatest number in it: set the bounds of the simulator. (For',
    '  # choices, whole numbers from 0, set actionValues in place of this.)',
    ...(differing.length === 0
      ? []
      : [
          `  # One pair is for all dimensions, and they differ: ${said.join(', ')}${ranges.length > said.length ? ', …' : ''}. An environment`,
          '  # gives each its own.',
        ]),
    `  actionBounds: [${low}, ${high}]`,
  ];
}

/** The environment in which the data was recorded, if the file says it and this program has its simulator. */
function recordedEmbedded({ recordedIn }: TransitionSource): Readonly<Record<string, unknown>> | undefined {
  if (!isGroup(recordedIn) || typeof recordedIn.simulator !== 'string') return undefined;
  return simulators.names().includes(recordedIn.simulator) ? recordedIn : undefined;
}

/** @throws PmpoError if the simulator of the configuration does not answer, or the data is not of it. */
async function checkEnvironment(
  { environment, evaluation, seed, dataset }: ResolvedOfflineConfig,
  subject: SimulatorSubject,
  source: TransitionSource,
  options: Omit<StarterOptions, 'file'>,
): Promise<void> {
  if (environment === undefined) return;
  await withEnvironment({ environment, evaluation, seed }, subject, options, (connected) =>
    dataShape(source, {
      ...dataset,
      environment: shapeOf(connected),
      oneHot: environment.oneHotObservations,
    }),
  );
}

/**
 * The text of a configuration that learns from a data set of transitions. The data set is opened and its simulator, if there is one, is
 * connected to, so that the text says what is there.
 * @throws PmpoError if either fails, or they do not fit, or nothing bounds the actions.
 */
export async function offlineStarter(
  { dataset, ...subject }: OfflineSubject,
  { file, modules, ...options }: StarterOptions,
): Promise<string> {
  const source = await openTransitions(dataset);
  try {
    const { address, simulator } = subject;
    const isNamed = address !== undefined || simulator !== undefined;
    const environment = isNamed ? subject : recordedEmbedded(source);
    const transitions = source.blocks.reduce((sum, block) => sum + block.transitions, 0);
    const unit = transitions === 1 ? 'transition' : 'transitions';
    const found = `${dataset}: ${formatCount(transitions)} ${unit} (${source.format})`;
    options.notice(found);
    const isBounded = areBounded(source.actionSpecs) || environment !== undefined;
    const settings = [
      'dataset:',
      `  file: ${inline(pathFrom(file, dataset))}`,
      ...(isBounded ? [] : await actionLines(source, options.signal)),
      '',
      ...(environment === undefined
        ? [
            '# Evaluates the policy. Without it, it is trained and not evaluated.',
            '# environment: { simulator: NAME, address: 127.0.0.1:50051 }',
          ]
        : ['# Evaluates the policy. Nothing is learned from it.', `environment: ${inline(environment)}`]),
      '',
      '# Actions that are better than the policy are accepted, and those that are worse rejected; α is the share of the accepted ones.',
      'operator: { name: pmpo, alpha: 0.5 }',
      '',
    ].join('\n');
    const job = await resolveJob(file, settings, [], { modules });
    if (job.kind !== 'offline') throw new Error('a configuration with a data set is one of an offline job');
    await checkEnvironment(job.config, subject, source, options);
    const { learner, evaluation } = job.config;
    return `# ${found}. \`npx pmpo data ${file}\` describes them.
${settings}
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
