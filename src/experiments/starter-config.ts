import { dirname, relative } from 'node:path';
import { stringify } from 'yaml';
import { resolveConfig, resolveJob } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { nearest } from '../core/nearest.js';
import { type PreferenceData, readAsLine, readPreferences } from '../datasets/preferences.js';
import { readRows } from '../datasets/rows.js';
import { holdsTransitions } from '../datasets/transitions/open.js';
import type { VectorEnvironment } from '../environments/vector-environment.js';
import { simulators } from '../simulators/registry.js';
import type { PublicModules } from '../system/user-module.js';
import { type ConnectOptions, connectEnvironments, reachSimulators } from './environments.js';
import { type OfflineSubject, offlineStarter } from './offline-starter.js';

/** A first configuration, with comments, for someone's simulator or data set: what `pmpo init` writes. */

/** The simulator or the data set that a configuration is written for. */
export type StarterSubject =
  /** A server, or an embedded simulator where there is no address. */
  | { readonly address?: string; readonly simulator?: string }
  /** A data set: a file or a folder; with the simulator of its transitions, if they are some. */
  | OfflineSubject;

/** What `starterConfig` needs. */
export interface StarterOptions extends ConnectOptions {
  /** The path at which the configuration will be written. */
  readonly file: string;
  readonly modules?: PublicModules;
}

/** A text as YAML, quoted where it must be. */
const scalar = (text: string) => stringify(text, { lineWidth: 0 }).trim();
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

/** The error of a server that needs the name of a simulator, in the terms of `pmpo init`; any other error as it is. */
function asksForSimulator(error: unknown): unknown {
  if (!(error instanceof PmpoError) || !error.message.includes("setting 'simulator'")) return error;
  const { where, what } = error.details;
  return new ConfigError({
    where,
    what,
    remedy: 'Name a simulator of the server with --simulator NAME',
    cause: error,
  });
}

async function controlStarter(
  { address, simulator }: Exclude<StarterSubject, OfflineSubject>,
  { file, modules, ...options }: StarterOptions,
): Promise<string> {
  const environment = [
    ...(address === undefined ? [] : [`  address: ${scalar(address)}`]),
    simulator === undefined
      ? '  # simulator: NAME    for a server that has several; without it the server chooses'
      : `  simulator: ${scalar(simulator)}`,
  ];
  const { config } = await resolveConfig(file, ['environment:', ...environment, ''].join('\n'), [], {
    modules,
  });
  const server = await reachSimulators(config, options);
  try {
    const connected = await connectEnvironments(config, server.addresses, 'evaluation', 1, options).catch(
      (error: unknown) => {
        throw simulator === undefined ? asksForSimulator(error) : error;
      },
    );
    try {
      if (address !== undefined && simulator === undefined)
        options.notice(
          `No simulator is named: ${address} chose the one whose observations and actions the file says. Name another with --simulator`,
        );
      const { learner, evaluation, operator } = config;
      return `${specLines(connected).join('\n')}
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
    } finally {
      await connected.close();
    }
  } finally {
    await server.close();
  }
}

/** @throws ConfigError if this program has no simulator of that name. */
function requireEmbedded(simulator: string): void {
  const known = simulators.names();
  if (known.includes(simulator)) return;
  const guess = nearest(simulator, known);
  throw new ConfigError({
    where: '--simulator',
    what: `unknown embedded simulator '${simulator}'`,
    remedy: `${guess === undefined ? '' : `Did you mean '${guess}'? `}\`npx pmpo simulators\` lists them. For one on a server give --address too`,
  });
}

/** The setting that a data set needs besides its file, with a comment. */
function feedbackLines(source: string, { contexts, evaluations }: PreferenceData): string[] {
  if (evaluations === 'scores') {
    const several = contexts.some(({ completions }) => completions.length > 1);
    return several
      ? [
          '# A score is not a label: the best completion of each prompt is accepted, and the worst rejected.',
          'feedback: { name: top-k, accept: 1, reject: 1 }',
        ]
      : [
          '# A score is not a label: completions of at least this score are accepted, and the others rejected. Set it to what you mean.',
          `feedback: { name: threshold, value: ${dividingScore(source, contexts)} }`,
        ];
  }
  return ['# Labels say what is accepted and what is rejected.', 'feedback: { name: label }'];
}

/** A score that divides the completions about in half: at least one is below it. @throws PmpoError if all scores are the same. */
function dividingScore(source: string, contexts: PreferenceData['contexts']): number {
  const scores = contexts
    .flatMap(({ completions }) => completions.map(({ evaluation }) => evaluation))
    .sort((a, b) => a - b);
  const middle = scores.slice(Math.floor(scores.length / 2)).find((score) => score > scores[0]!);
  const found = middle ?? scores.find((score) => score > scores[0]!);
  if (found !== undefined) return found;
  throw new PmpoError({
    where: source,
    what: `every completion has the score ${scores[0]}, so that no threshold divides them`,
    remedy: 'Give scores that differ, or labels',
  });
}

/** The operator for the sides that a data set has. */
function operatorLines({ contexts, evaluations }: PreferenceData): string[] {
  const all = contexts.flatMap(({ completions }) => completions.map(({ evaluation }) => evaluation));
  const [accepts, rejects] = [all.some((one) => one > 0), all.some((one) => one < 0)];
  if (evaluations === 'labels' && !accepts)
    return [
      '# It learns from rejected completions alone: α = 0 (docs/aligning.md).',
      'operator: { name: pmpo, alpha: 0 }',
    ];
  if (evaluations === 'labels' && !rejects)
    return ['# It learns from accepted completions alone: α = 1.', 'operator: { name: pmpo, alpha: 1 }'];
  return [
    '# α is the share of accepted completions in the loss, β the weight of the KL; dpo, kto, … replace it (npx pmpo operators).',
    'operator: { name: pmpo, alpha: 0.5, beta: 1 }',
  ];
}

async function languageStarter(dataset: string, { file, modules, notice }: StarterOptions): Promise<string> {
  const data = readPreferences(await readRows(dataset), dataset);
  const found = readAsLine(dataset, data);
  notice(found);
  const text = `# ${found}
language:
  # The policy: a Hugging Face model in a process of its own, which this starts:
  #   npx pmpo serve trainer --model FOLDER --lora-rank 16 --port 50052
  # model: { name: embedded } is a small model of short texts that needs no server, to look at how training goes.
  model: { name: trainer, address: 127.0.0.1:50052 }
  dataset:
    file: ${scalar(relative(dirname(file), dataset) || '.')}
    heldOut: 0.1 # the share of prompts that is evaluated and not learned

${operatorLines(data).join('\n')}
${feedbackLines(dataset, data).join('\n')}
reference: initial # the policy stays near the model that it starts as

learner:
  updates: 100
  batchSize: 16 # prompts
  learningRate: 1.0e-4 # with --lora-rank; without it, and for a large model, 1.0e-6 to 1.0e-5

evaluation: { every: 20 }
`;
  await resolveJob(file, text, [], { modules });
  return text;
}

/** A first configuration. */
export interface Starter {
  readonly text: string;
  /** What its reader does with it, as one sentence without a capital. */
  readonly next: string;
}

/**
 * A configuration for a simulator or a data set. The simulator is connected to, and the data set is read, so that the text says what
 * is there.
 * @throws PmpoError if the server does not answer or refuses, or the data set cannot be read; ConfigError if nothing is chosen.
 */
export async function starterConfig(subject: StarterSubject, options: StarterOptions): Promise<Starter> {
  const { file } = options;
  const train = `npx pmpo train ${file}`;
  const withHead = (text: string) =>
    `# Made by \`pmpo init\`. \`${train}\` trains it; \`npx pmpo schema\` says what else can be set.\n${text}`;
  if (subject.address === undefined && subject.simulator !== undefined) requireEmbedded(subject.simulator);
  if (!('dataset' in subject)) {
    if (subject.address === undefined && subject.simulator === undefined)
      throw new ConfigError({
        what: 'neither a simulator nor a data set is chosen',
        remedy: 'Give --simulator NAME, --address HOST:PORT or --dataset FILE',
      });
    return { text: withHead(await controlStarter(subject, options)), next: train };
  }
  if (await holdsTransitions(subject.dataset))
    return {
      text: withHead(await offlineStarter(subject, options)),
      next: `\`npx pmpo data ${file}\` describes the transitions, \`${train}\` learns from them`,
    };
  if (subject.address !== undefined || subject.simulator !== undefined)
    throw new ConfigError({
      where: '--dataset',
      what: `${subject.dataset} has completions of a language model, which no simulator evaluates`,
      remedy: 'Leave out --address and --simulator, or --dataset',
    });
  return {
    text: withHead(await languageStarter(subject.dataset, options)),
    next: `start the model's server, as the file says; \`npx pmpo data ${file}\` shows what is learned, \`${train}\` learns it`,
  };
}
