import { PmpoError } from '../../core/errors.js';
import { quotedName } from '../../core/foreign-text.js';
import type { NumericDType } from '../../environments/environment.js';
import { numericData } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { packTensor } from './tensors.js';

/** The settings that a client sends with CreateWorld, JoinWorld and Reset. */

/** The types that a setting can name, with the range of the whole ones. The names are those of dm_env_rpc. */
export const settingTypes = {
  float: { dtype: 'float32' },
  double: { dtype: 'float64' },
  int8: { dtype: 'int8', range: [-128, 127] },
  int32: { dtype: 'int32', range: [-(2 ** 31), 2 ** 31 - 1] },
  int64: { dtype: 'int64', range: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] },
  uint8: { dtype: 'uint8', range: [0, 255] },
  uint32: { dtype: 'uint32', range: [0, 2 ** 32 - 1] },
  uint64: { dtype: 'uint64', range: [0, Number.MAX_SAFE_INTEGER] },
} as const satisfies Readonly<
  Record<string, { readonly dtype: NumericDType; readonly range?: readonly [number, number] }>
>;

type SettingType = keyof typeof settingTypes;

/** A number with its type: `{double: 10}`. It has one key. */
export type TypedSetting = { readonly [T in SettingType]?: number | undefined };

/**
 * A setting: text, true or false, or a number. A number without a type is a double if it has a fraction; otherwise an int32 if it
 * fits, or an int64. A seed is always an int64.
 */
export type SettingValue = string | number | boolean | TypedSetting;

/** Settings by name. */
export type PlainSettings = Readonly<Record<string, SettingValue>>;

const isTyped = (value: SettingValue): value is TypedSetting => typeof value === 'object';

/** The type and the number of a typed setting. @throws PmpoError if it is not of the form `{double: 10}`, or out of range. */
function typed(name: string, setting: TypedSetting): { type: SettingType; value: number } {
  const [first, ...others] = Object.entries(setting) as [SettingType, number][];
  const [type, value] = first ?? [];
  const known = type !== undefined && Object.hasOwn(settingTypes, type) ? settingTypes[type] : undefined;
  const range = known !== undefined && 'range' in known ? known.range : undefined;
  const isInRange =
    typeof value === 'number' &&
    (range === undefined || (Number.isInteger(value) && value >= range[0] && value <= range[1]));
  if (others.length === 0 && known !== undefined && type !== undefined && isInRange) return { type, value };
  throw new PmpoError({
    where: `setting ${quotedName(name)}`,
    what: `${JSON.stringify(setting)} is not a number of one of dm_env_rpc's types`,
    remedy: `Write {double: 10}, with one of ${Object.keys(settingTypes).join(', ')}`,
  });
}

/** The setting without its type. */
export function withoutType(name: string, setting: SettingValue): string | number | boolean {
  return isTyped(setting) ? typed(name, setting).value : setting;
}

function packNumber(type: SettingType, value: number): wire.Tensor {
  const { dtype } = settingTypes[type];
  return packTensor({ dtype, shape: [], data: numericData(dtype, 1, () => value) });
}

/** Writes one setting; `name` tells seeds from other numbers. @throws as `packSettings` does. */
export function packSetting(setting: SettingValue, name = ''): wire.Tensor {
  if (typeof setting === 'string') return { strings: { array: [setting] } };
  if (typeof setting === 'boolean') return { bools: { array: [setting] } };
  if (isTyped(setting)) {
    const { type, value } = typed(name, setting);
    return packNumber(type, value);
  }
  if (!Number.isInteger(setting)) return packNumber('double', setting);
  return packNumber(name === 'seed' || Math.abs(setting) >= 2 ** 31 ? 'int64' : 'int32', setting);
}

/** Writes settings. @throws PmpoError for a type that does not exist, or a number out of its range. */
export function packSettings(settings: PlainSettings = {}): Record<string, wire.Tensor> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, setting]) => [name, packSetting(setting, name)]),
  );
}

/** The settings whose numbers were sent as integers because they are whole: the server may want another type. */
export function wholeSettings(settings: PlainSettings = {}): string[] {
  return Object.keys(settings).filter((name) => name !== 'seed' && Number.isInteger(settings[name]));
}
