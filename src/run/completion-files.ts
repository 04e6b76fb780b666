import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { writeAtomically } from '../system/atomic-file.js';
import type { EvaluatedCompletion, LanguageEvaluation } from './records.js';

/** Files with the held-out completions of a language job: one file for each evaluation, one line for each completion. */

function fileOf(folder: string, updates: number): string {
  return join(folder, `update-${String(updates).padStart(8, '0')}.jsonl`);
}

/** Writes the completions of an evaluation. */
export async function writeCompletions(
  folder: string,
  { updates, completions }: LanguageEvaluation,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const lines = completions.map((completion) => `${JSON.stringify(completion)}\n`);
  await writeAtomically(fileOf(folder, updates), lines.join(''));
}

/** Reads the completions of an evaluation; undefined if there is no file. @throws PmpoError if the file is damaged. */
export async function readCompletions(
  folder: string,
  updates: number,
): Promise<LanguageEvaluation | undefined> {
  const file = fileOf(folder, updates);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PmpoError({ where: file, what: 'it cannot be read', cause });
  }
  try {
    const lines = text.split('\n').filter((line) => line !== '');
    return { updates, completions: lines.map((line) => JSON.parse(line) as EvaluatedCompletion) };
  } catch (cause) {
    throw new PmpoError({ where: file, what: 'a line is not JSON', cause });
  }
}

/** All evaluations of which there are completions, in order; those whose files are damaged are left out. */
export async function readAllCompletions(folder: string): Promise<LanguageEvaluation[]> {
  const names = await readdir(folder).catch(() => []);
  const found: LanguageEvaluation[] = [];
  for (const name of names.sort()) {
    const [, updates] = /^update-(\d+)\.jsonl$/.exec(name) ?? [];
    if (updates === undefined) continue;
    const read = await readCompletions(folder, Number(updates)).catch(() => undefined);
    if (read !== undefined) found.push(read);
  }
  return found;
}

/**
 * What is missing of the completions of earlier evaluations, in a sentence; undefined if everything is there.
 * @param updates the updates after which the model was evaluated.
 * @throws PmpoError if those of the model before training are damaged.
 */
export async function missingCompletions(
  folder: string,
  updates: readonly number[],
): Promise<string | undefined> {
  const problems: string[] = [];
  const all = [...new Set(updates)].sort((a, b) => a - b);
  for (const each of all) {
    try {
      const read = await readCompletions(folder, each);
      if (read === undefined) problems.push(`${fileOf(folder, each)}: there is no such file`);
    } catch (error) {
      // All later evaluations are compared with the first one.
      if (each === 0) throw error;
      problems.push((error as Error).message);
    }
  }
  if (problems.length === 0) return undefined;
  const others =
    problems.length === 1 ? '' : `, and so for ${problems.length - 1} more of ${all.length} evaluations`;
  return `Completions of earlier evaluations are missing or damaged: ${problems[0]}${others}. Comparisons with them are left out`;
}
