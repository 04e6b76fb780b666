import { basename } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { withCurrentKeys } from '../config/renamed-keys.js';
import { ConfigError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { jobKind } from '../core/job-kind.js';
import { isGroup } from '../core/key-path.js';
import { show } from '../core/schema-problems.js';
import {
  type ControlDecay,
  controlLearningRateFactor,
  decayStart,
  learningRateFactor,
} from '../learners/schedule.js';
import type { LoadedCheckpoint } from '../run/checkpoints.js';

/**
 * What may differ between the configuration that a checkpoint was saved with and the one that its run is resumed with: the
 * total, by which a finished run is extended; where servers are; and what leaves the learning itself as it is.
 */

type Tree = Readonly<Record<string, unknown>>;

/** The settings that `--set` may change when a run is resumed. A group stands for all of its keys. */
export const changeable = [
  'learner.environmentSteps',
  'learner.updates',
  'environment.address',
  'feedback.address',
  'language.model.address',
  'language.model.sampler.address',
  'evaluation',
  'checkpoint',
  'engine',
  'threads',
] as const;

/** Further settings that an edit of config.yaml may change: the connections to servers, and names of folders. */
const editable = [
  'output',
  'name',
  'environment.tls',
  'environment.token',
  'environment.reconnect',
  'feedback.tls',
  'feedback.token',
  'feedback.reconnect',
  'feedback.deadlineSeconds',
  'language.model.tls',
  'language.model.token',
  'language.model.deadlineSeconds',
  'language.model.sampler',
  'replay.redis',
  'replay.redisTls',
  'replay.redisPassword',
];

const lies = (key: string, within: readonly string[]) =>
  within.some((group) => key === group || key.startsWith(`${group}.`));

/** Whether `--set` may change this key when a run is resumed. */
export function mayBeSet(key: string): boolean {
  return lies(key, changeable);
}

/** A setting that differs. `before` or `now` is undefined where the setting is absent. */
interface Change {
  readonly key: string;
  readonly before: unknown;
  readonly now: unknown;
}

/** The values of a configuration by their keys: `operator.alpha`. Lists are values. */
function leaves(tree: Tree, prefix = ''): Map<string, unknown> {
  return new Map(
    Object.entries(tree).flatMap(([key, value]) =>
      isGroup(value) ? [...leaves(value, `${prefix}${key}.`)] : [[`${prefix}${key}`, value] as const],
    ),
  );
}

function changesOf(saved: Tree, current: Tree): Change[] {
  const before = leaves(saved);
  const now = leaves(current);
  return [...new Set([...before.keys(), ...now.keys()])].flatMap((key) => {
    const change = { key, before: before.get(key), now: now.get(key) };
    return isDeepStrictEqual(change.before, change.now) ? [] : [change];
  });
}

/** A configuration as JSON holds it: without keys that are undefined. */
export const plain = (config: object): Tree => JSON.parse(JSON.stringify(config)) as Tree;

/** The same file in another folder, or the same files: a run and what belongs to it may be moved. */
function isMovedFile({ before, now }: Change): boolean {
  const names = (value: unknown) =>
    (Array.isArray(value) ? value : [value]).map((path) =>
      typeof path === 'string' && /[\\/]/.test(path) ? basename(path) : undefined,
    );
  const [a, b] = [names(before), names(now)];
  return a.every((name) => name !== undefined) && isDeepStrictEqual(a, b);
}

/** Whether a run goes on in spite of a change. A setting that the checkpoint lacks is one of a newer version, or was added. */
function isAllowed(change: Change): boolean {
  return lies(change.key, [...changeable, ...editable]) || change.before === undefined || isMovedFile(change);
}

function describe({ key, before, now }: Change): string {
  const was = before === undefined ? 'was not set' : `was ${show(before)}`;
  return `${key} ${was} and is ${now === undefined ? 'not set' : show(now)}`;
}

/** The number of steps or updates after which a run ends, and its key. */
interface Total {
  readonly key: 'learner.environmentSteps' | 'learner.updates';
  readonly unit: string;
  readonly value: number;
}

function totalOf(config: Tree): Total | undefined {
  const { environmentSteps, updates } = (config.learner ?? {}) as {
    environmentSteps?: number;
    updates?: number;
  };
  if (jobKind(config) !== 'control') {
    return updates === undefined ? undefined : { key: 'learner.updates', unit: 'updates', value: updates };
  }
  if (environmentSteps === undefined) return undefined;
  return { key: 'learner.environmentSteps', unit: 'environment steps', value: environmentSteps };
}

/** How the learning rate of a run with some total decays: the share of the run at which it begins to, and its factor now. */
interface Decay {
  readonly start: number;
  readonly factor: number;
}

/** The decay of a run that has done `done` steps or updates of `total`. */
function decayOf(config: Tree, done: number, total: number): Decay {
  if (jobKind(config) !== 'control') {
    const { decayFrom: start = 1 } = config.learner as { decayFrom?: number };
    return { start, factor: learningRateFactor(done / total, start) };
  }
  const settings = { ...(config.learner as ControlDecay), environmentSteps: total };
  return { start: decayStart(settings), factor: controlLearningRateFactor(done, settings) };
}

/** Tells what becomes of a schedule that depends on the total. */
function aboutSchedules(config: Tree, done: number, before: number, now: number): string {
  const [was, is] = [before, now].map((total) => decayOf(config, done, total));
  if (was.start >= 1 && is.start >= 1) return '';
  const decay = is.start >= 1 ? 'no longer decays' : `now decays until ${formatCount(now)}`;
  return `. The learning rate ${decay}: its factor goes from ${was.factor.toFixed(2)} to ${is.factor.toFixed(2)}, so the result differs from that of a run with this total from the start`;
}

/** How a run that is resumed differs from its checkpoint. */
export interface Resumption {
  /** What a person should know, a sentence each. */
  readonly notices: readonly string[];
  /** Whether any setting differs. */
  readonly changed: boolean;
}

/**
 * Compares the configuration of a run that is resumed with that of its checkpoint.
 *
 * @param file the run's config.yaml, for messages.
 * @param config the configuration to resume with.
 * @throws ConfigError if settings differ that must not, or the run has passed its new total already.
 */
export function compareWithCheckpoint(
  file: string,
  { steps, checkpoint, config: saved, hasChecksum }: LoadedCheckpoint,
  config: object,
): Resumption {
  const former = hasChecksum
    ? []
    : [
        'The checkpoint was saved by an earlier version, without a checksum and its configuration: damage to it, and edits of config.yaml, cannot be seen',
      ];
  if (saved === undefined) return { notices: former, changed: false };
  const current = plain(config);
  const changes = changesOf(withCurrentKeys(saved), current);
  const refused = changes.filter((change) => !isAllowed(change));
  if (refused.length > 0) {
    throw new ConfigError({
      where: file,
      what: `it has been edited since the checkpoint at ${steps}: ${refused.map(describe).join('; ')}`,
      remedy: `Undo that, or start a new run. A run that goes on may change ${changeable.join(', ')}, and where its servers and files are`,
    });
  }
  const before = totalOf(saved);
  const now = totalOf(current);
  const notices = changes
    .filter(({ key }) => key !== now?.key)
    .map((change) => `The configuration has changed since the checkpoint at ${steps}: ${describe(change)}`);
  if (before !== undefined && now !== undefined && now.value !== before.value) {
    const { counters } = checkpoint.metadata as { counters?: { updates?: number } };
    const done = now.unit === 'updates' ? (counters?.updates ?? 0) : steps;
    if (now.value < done) {
      throw new ConfigError({
        where: now.key,
        what: `the run has already made ${done} ${now.unit}, more than ${now.value}`,
        remedy: `Give at least ${done}`,
      });
    }
    const word = now.value > before.value ? 'extended' : 'shortened';
    notices.unshift(
      `The run is ${word} from ${formatCount(before.value)} to ${formatCount(now.value)} ${now.unit}, at ${formatCount(done)}${aboutSchedules(current, done, before.value, now.value)}`,
    );
  }
  return { notices: [...former, ...notices], changed: changes.length > 0 };
}
