import {
  type PreferenceData,
  type PreferenceOptions,
  readPreferences,
} from '../../src/datasets/preferences.js';

/** Rows of data sets, as tests write them. */

/** Reads rows as those of a file, `f.jsonl`. */
export const read = (rows: readonly object[], options?: PreferenceOptions): PreferenceData =>
  readPreferences(
    rows.map((row, i) => ({ row: row as Record<string, unknown>, where: `f.jsonl:${i + 1}` })),
    'f.jsonl',
    options,
  );

export const user = (content: string) => ({ role: 'user', content });
export const assistant = (content: string) => ({ role: 'assistant', content });
export const system = (content: string) => ({ role: 'system', content });
export const human = (value: string) => ({ from: 'human', value });
export const gpt = (value: string) => ({ from: 'gpt', value });
