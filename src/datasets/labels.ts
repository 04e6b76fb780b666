import { ConfigError, PmpoError } from '../core/errors.js';
import { excerptOf } from './messages.js';

/** Labels say whether a completion was accepted or rejected. What a column of them means is decided for the whole column. */

/** The setting `language.dataset.labels`. */
export type LabelSetting =
  | 'none'
  | 'weights'
  | {
      readonly accepted: LabelValue | readonly LabelValue[];
      readonly rejected: LabelValue | readonly LabelValue[];
    };
export type LabelValue = string | number | boolean;

/** The value of a label in the data, with its place. */
export interface PlacedLabel {
  readonly value: unknown;
  readonly where: string;
}

/** From a label to a weight: 1 accepted, −1 rejected; undefined for a label that says neither and is left out. */
export type LabelMeaning = (value: unknown) => number | undefined;

/** The key under which labels are compared: `Good` and `good` are the same, and so are `1` and `"1"`. */
const keyOf = (value: unknown) => String(value).trim().toLowerCase();

function bySetting({ accepted, rejected }: Exclude<LabelSetting, string>): LabelMeaning {
  const keys = (values: LabelValue | readonly LabelValue[]) =>
    new Set((Array.isArray(values) ? values : [values]).map(keyOf));
  const [yes, no] = [keys(accepted), keys(rejected)];
  const both = [...yes].find((key) => no.has(key));
  if (both !== undefined) {
    throw new ConfigError({
      where: 'language.dataset.labels',
      what: `'${both}' is both accepted and rejected; capitals and spaces around a label make no difference`,
    });
  }
  return (value) => (yes.has(keyOf(value)) ? 1 : no.has(keyOf(value)) ? -1 : undefined);
}

const remedy =
  'Say which values mean what: language.dataset.labels: {accepted: …, rejected: …}; or, if the numbers are scores, name the column by language.dataset.columns: {score: …} and set feedback: {name: threshold, value: …} or {name: top-k}, unless the operator weighs scores itself';

function refuse(where: string, what: string, way = remedy): never {
  throw new PmpoError({ where, what, remedy: way });
}

/** The different values of a column, shortly. */
function shownValues(labels: readonly PlacedLabel[]): string {
  const distinct = [...new Set(labels.map(({ value }) => excerptOf(value)))].sort();
  return distinct.length > 6 ? `${distinct.slice(0, 6).join(', ')}, …` : distinct.join(', ');
}

const asNumber = (value: unknown) => (typeof value === 'bigint' ? Number(value) : value);

/**
 * What the labels of a data set mean. Without a setting they may be true and false, or numbers from −1 to 1 of which some are negative or
 * all are 1. Any other column is ambiguous: of 0 and 1, for example, 0 may mean rejected, or neither accepted nor rejected.
 * @param labels all labels that are not null.
 * @throws PmpoError naming the setting that is needed; ConfigError if the setting fits no label.
 */
export function labelMeaning(
  labels: readonly PlacedLabel[],
  setting: LabelSetting | undefined,
): LabelMeaning {
  if (typeof setting === 'object') {
    const meaning = bySetting(setting);
    if (labels.length === 0 || labels.some(({ value }) => meaning(value) !== undefined)) return meaning;
    throw new ConfigError({
      where: 'language.dataset.labels',
      what: `no label is one of its values: the labels are ${shownValues(labels)}`,
    });
  }
  const numbers: number[] = [];
  for (const { value, where } of labels) {
    const number = asNumber(value);
    if (typeof value === 'boolean') continue;
    if (typeof number !== 'number' || !Number.isFinite(number))
      refuse(where, `${excerptOf(value)} is not a label: the labels are ${shownValues(labels)}`);
    if (Math.abs(number) > 1)
      refuse(where, `the label ${number} is not between −1 and 1: the labels are ${shownValues(labels)}`);
    numbers.push(number);
  }
  const isPlain = numbers.some((number) => number < 0) || numbers.every((number) => number === 1);
  if (!isPlain && setting !== 'weights') {
    const { where } = labels.find(({ value }) => asNumber(value) !== 1 && typeof value !== 'boolean')!;
    refuse(
      where,
      `the labels are ${shownValues(labels)}, and none is negative: the least may mean rejected, or neither accepted nor rejected`,
      `${remedy}; or, if each is the weight of an accepted completion, set language.dataset.labels: weights`,
    );
  }
  return (value) => (typeof value === 'boolean' ? (value ? 1 : -1) : (asNumber(value) as number));
}
