import { basename } from 'node:path';
import { formatCount } from '../core/format.js';
import type { RunStart } from '../run/provenance.js';
import { escapeHtml, htmlTable } from './html.js';
import type { RunData } from './run-data.js';

/** What was asked of a run, in the terms of its configuration; and how the configurations of several runs differ. */

type Values = Readonly<Record<string, unknown>>;

const isValues = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The letters by which the literature calls these settings. */
const letters: Readonly<Record<string, string>> = {
  alpha: 'α',
  beta: 'β',
  eta: 'η',
  epsilon: 'ε',
  lambda: 'λ',
  gamma: 'γ',
  tau: 'τ',
};

/** `maxGradientNorm` as people write it. */
const words = (key: string) =>
  letters[key] ?? key.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/** A setting's value in a few words. */
function valueText(value: unknown): string {
  if (typeof value === 'number')
    return Math.abs(value) >= 1000 ? formatCount(value) : String(value).replace('-', '−');
  if (Array.isArray(value)) return value.map(valueText).join(', ');
  if (isValues(value)) return settingList(value);
  return String(value);
}

function settingList(values: Values): string {
  return Object.entries(values)
    .filter(([, value]) => !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => {
      const text = key === 'file' ? basename(String(value)) : valueText(value);
      return isValues(value) ? `${words(key)} (${text})` : `${words(key)} = ${text}`;
    })
    .join(', ');
}

/** A named choice with its settings: `top-k (accept = 2, reject = 2)`. */
function choiceText(value: unknown): string {
  if (!isValues(value)) return valueText(value);
  const { name, ...settings } = value;
  const list = settingList(settings);
  return `${String(name)}${list === '' ? '' : ` (${list})`}`;
}

/** The weight or the bound of a part of the KL. */
function klText(value: unknown): string {
  if (isValues(value) && 'epsilon' in value) return `bound ε = ${valueText(value.epsilon)}`;
  return isValues(value) ? settingList(value) : `weight ${valueText(value)}`;
}

/** Whether `kl` names every part of the KL that a policy of PMPO has, so that β is the weight of none. */
function isBetaReplaced(
  operator: string,
  named: readonly (readonly [string, unknown])[],
  metrics: readonly string[],
): boolean {
  const parts = metrics.filter((metric) => /^policy\/kl\/[^/]+$/.test(metric));
  return operator === 'pmpo' && parts.length > 0 && named.length === parts.length;
}

/** The operator: its own settings, and the weight of each part of the KL that the policy has. */
function operatorRows({
  operator = {},
  metrics,
}: {
  readonly operator?: Values;
  readonly metrics: readonly string[];
}) {
  const { name, kl, ...given } = operator;
  const parts = isValues(kl) ? Object.entries(kl) : [];
  const used = parts.filter(([part]) => metrics.includes(`policy/kl/${part}`));
  const settings = Object.fromEntries(
    Object.entries(given).filter(([key]) => key !== 'beta' || !isBetaReplaced(String(name), used, metrics)),
  );
  const numbers = Object.entries(settings).filter(([, value]) => typeof value === 'number');
  const others = Object.entries(settings).filter(([, value]) => typeof value !== 'number' && value !== false);
  const all = [...numbers, ...others].map(([key, value]) => `${words(key)} = ${valueText(value)}`);
  const shown = used.length > 0 ? used : parts;
  return [
    ['Operator', `${String(name ?? 'unknown')}${all.length === 0 ? '' : `: ${all.join(', ')}`}`],
    ...(shown.length === 0
      ? []
      : [['KL(reference ‖ policy)', shown.map(([part, value]) => `${part}: ${klText(value)}`).join('; ')]]),
  ];
}

/** The layers of a network: `128 × 128, elu`. */
function networkText(network: Values): string {
  const { hidden, activation, residual, head, layers, width, heads } = network;
  if (Array.isArray(hidden)) {
    const kind = residual === true ? 'residual blocks' : 'hidden layers';
    const named = typeof head === 'string' && head !== 'auto' ? `, ${head} head` : '';
    return `${kind} of ${hidden.join(' and ')}, ${String(activation)}${named}`;
  }
  return `${String(layers)} blocks of width ${String(width)}, ${String(heads)} heads`;
}

const defined = (rows: readonly (readonly [string, string | undefined])[]) =>
  rows.flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[name, value] as const]));

const rateOf = (values: Values | undefined, key = 'learningRate') =>
  values?.[key] === undefined ? undefined : valueText(values[key]);

/** Penalties and cut-offs of 0 have no effect; a temperature of 0 has. */
const withoutZeros = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).filter(([key, value]) => key === 'temperature' || value !== 0));

function sourceRows({
  language,
  environment,
  dataset,
  evaluation,
}: Values): (readonly [string, string | undefined])[] {
  if (isValues(language)) {
    const { model, prompts, dataset: rows, reward, sampling } = language;
    const file = (value: unknown) => (isValues(value) ? String(value.file ?? '') : undefined);
    return [
      [
        'Model',
        isValues(model)
          ? `${String(model.name)}${model.address === undefined ? '' : ` at ${String(model.address)}`}`
          : undefined,
      ],
      ['Prompts', file(prompts)],
      ['Data set', file(rows)],
      ['Reward', reward === undefined ? undefined : choiceText(reward)],
      ['Judge', isValues(evaluation) ? (evaluation.judge as string | undefined) : undefined],
      ['Sampling', isValues(sampling) ? settingList(withoutZeros(sampling)) : undefined],
    ];
  }
  const { simulator, address, numEnvs, actionRepeat } = isValues(environment) ? environment : ({} as Values);
  return [
    ['Data set', isValues(dataset) ? String(dataset.file ?? '') : undefined],
    [
      'Simulator',
      environment === undefined
        ? undefined
        : [simulator, address === undefined ? 'embedded' : `at ${valueText(address)}`]
            .filter((x) => x !== undefined)
            .join(', '),
    ],
    [
      'Environments',
      numEnvs === undefined
        ? undefined
        : `${valueText(numEnvs)} at once${Number(actionRepeat) > 1 ? `, each action held for ${String(actionRepeat)} steps` : ''}`,
    ],
  ];
}

/** The rows of what was asked: names, and values as text. */
export function askedRows({
  settings,
  metrics,
}: Pick<RunData, 'settings' | 'metrics'>): (readonly [string, string])[] {
  const group = (key: string): Values | undefined => {
    const value = settings[key];
    return isValues(value) ? value : undefined;
  };
  const [policy, critic, learner, replay] = ['policy', 'critic', 'learner', 'replay'].map(group);
  const { model } = group('language') ?? {};
  const names = Object.keys(metrics.at(-1)?.values ?? {});
  const rates = defined([
    ['policy', rateOf(learner)],
    ['critics', rateOf(critic)],
    ["operator's state", rateOf(learner, 'stateLearningRate')],
  ]).map(([name, value]) => `${name} ${value}`);
  const pace = defined([
    [
      'N',
      learner?.samples === undefined
        ? undefined
        : `N = ${valueText(learner.samples)} samples for each context`,
    ],
    ['B', learner?.batchSize === undefined ? undefined : `B = ${valueText(learner.batchSize)} contexts`],
  ]).map(([, value]) => value);
  const ensemble = Number(critic?.ensemble ?? 1);
  return defined([
    ...(operatorRows({ operator: group('operator'), metrics: names }) as [string, string][]),
    ['Feedback', choiceText(settings.feedback ?? { name: 'unknown' })],
    ['Samples', pace.join(', ')],
    [
      'Reference',
      settings.reference === undefined
        ? undefined
        : isValues(settings.reference)
          ? settingList(settings.reference)
          : String(settings.reference),
    ],
    [
      'Policy network',
      policy === undefined
        ? isValues(model) && model.layers !== undefined
          ? networkText(model)
          : undefined
        : networkText(policy),
    ],
    ['Critics', critic === undefined ? undefined : `${ensemble}, ${networkText(critic)}`],
    ['Learning rates', rates.join('; ')],
    [
      'Updates',
      learner?.stepsPerUpdate === undefined
        ? undefined
        : `one for each ${valueText(learner.stepsPerUpdate)} environment ${learner.stepsPerUpdate === 1 ? 'step' : 'steps'}${replay?.nStep === undefined ? '' : `, ${valueText(replay.nStep)}-step returns`}, discount γ = ${valueText(learner.discount)}`,
    ],
    ...sourceRows(settings),
    ['Seed', settings.seed === undefined ? undefined : String(settings.seed)],
  ]);
}

/** The rows of where and when a run was made. */
export function madeRows(starts: readonly RunStart[]): (readonly [string, string])[] {
  const [first] = starts;
  const last = starts.at(-1);
  if (first === undefined || last === undefined) return [];
  const when = ({ time }: RunStart) => time.replace('T', ' ').replace(/:\d\d\.\d+Z$/, ' UTC');
  const resumed = starts.length === 1 ? '' : `, resumed ${starts.slice(1).map(when).join(', ')}`;
  const { system, processor, cores, memoryGigabytes } = last.machine;
  return [
    ['Date', `${when(first)}${resumed}`],
    ['Machine', `${processor}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${memoryGigabytes} GB, ${system}`],
    [
      'Versions',
      Object.entries(last.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', '),
    ],
  ];
}

/** Rows as a list of terms. */
export function termList(rows: readonly (readonly [string, string])[]): string {
  const items = rows.map(
    ([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`,
  );
  return `<dl class="asked">${items.join('')}</dl>`;
}

/** What the job of a language run is called. */
export function jobTitle({ settings, environment }: Pick<RunData, 'settings' | 'environment'>): string {
  const { language } = settings;
  if (!isValues(language)) return environment;
  const { model, prompts, dataset, reward } = language;
  const file = (value: unknown) =>
    isValues(value) && typeof value.file === 'string' ? basename(value.file) : undefined;
  const by = isValues(reward)
    ? String(reward.name === 'program' ? (file(reward) ?? 'a program') : reward.name)
    : undefined;
  const source = file(prompts) ?? file(dataset) ?? 'its data';
  const name = isValues(model) ? String(model.name) : environment;
  return `Language model (${name}) on ${source}${by === undefined ? '' : `, rewarded by ${by}`}`;
}

/** The largest return that an embedded task can give: its reward is at most 1 for each step of the episode. */
export function largestReturn({ environment }: Values): number | undefined {
  if (!isValues(environment) || environment.simulator === undefined || environment.address !== undefined)
    return undefined;
  const { createSettings } = environment;
  const steps = isValues(createSettings) ? createSettings.episodeSteps : undefined;
  return typeof steps === 'number' ? steps : 1000;
}

/** Settings that say nothing of what was compared. */
const unimportant = /^(name|output|seed|plugins|engine|threads)$|^checkpoint\./;

/** The settings of a run as one level: `operator.alpha`. */
function flattened(values: Values, prefix = ''): [string, string][] {
  return Object.entries(values).flatMap(([key, value]) => {
    const path = `${prefix}${key}`;
    if (unimportant.test(path)) return [];
    return isValues(value) && Object.keys(value).length > 0
      ? flattened(value, `${path}.`)
      : [[path, typeof value === 'string' ? value : JSON.stringify(value)] as [string, string]];
  });
}

/** The settings of a run that have an effect: the weights of parts of the KL that its policy does not have are left out, and a β that is the weight of none. */
function ownSettings({ settings, metrics }: Pick<RunData, 'settings' | 'metrics'>): [string, string][] {
  const names = Object.keys(metrics.at(-1)?.values ?? {});
  const parts = names.flatMap((name) => /^policy\/kl\/([^/]+)$/.exec(name)?.[1] ?? []);
  const { name, kl }: Values = isValues(settings.operator) ? settings.operator : {};
  const named = Object.entries(isValues(kl) ? kl : {}).filter(([part]) => parts.includes(part));
  const isBetaUnused = isBetaReplaced(String(name), named, names);
  return flattened(settings).filter(([key]) => {
    if (key === 'operator.beta' && isBetaUnused) return false;
    const part = /^operator\.kl\.([^.]+)/.exec(key)?.[1];
    return part === undefined || parts.length === 0 || parts.includes(part);
  });
}

/** The settings that are not the same in all runs: for each, the value in each run, undefined where it has none. */
export function differingSettings(
  runs: readonly Pick<RunData, 'settings' | 'metrics'>[],
): { readonly key: string; readonly values: readonly (string | undefined)[] }[] {
  const all = runs.map((run) => new Map(ownSettings(run)));
  const keys = [...new Set(all.flatMap((own) => [...own.keys()]))];
  return keys
    .map((key) => ({ key, values: all.map((own) => own.get(key)) }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** A table of the settings that differ among labels; '' if none does. Each label is shown with its first run's settings. */
export function differenceTable(
  groups: readonly { readonly label: string; readonly runs: readonly RunData[] }[],
): string {
  const rows = differingSettings(groups.map(({ runs }) => runs[0]!));
  if (rows.length === 0) return '';
  return htmlTable(
    [
      {
        head: 'Setting',
        text: true,
        cell: ({ key }: (typeof rows)[number]) => `<code>${escapeHtml(key)}</code>`,
      },
      ...groups.map(({ label }, i) => ({
        head: label,
        text: true,
        cell: ({ values }: (typeof rows)[number]) => escapeHtml(values[i] ?? '–'),
      })),
    ],
    rows,
    { caption: 'Settings that differ', wraps: true },
  );
}
