import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import type { EvaluatedCompletion, LanguageEvaluation } from '../run/records.js';
import { writeAtomically } from '../system/atomic-file.js';

/** Evaluations of a language job as files, one each: a line for each held-out completion. */

function fileOf(folder: string, updates: number): string {
  return join(folder, `update-${String(updates).padStart(8, '0')}.jsonl`);
}

export async function writeCompletions(
  folder: string,
  { updates, completions }: LanguageEvaluation,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const lines = completions.map((completion) => `${JSON.stringify(completion)}\n`);
  await writeAtomically(fileOf(folder, updates), lines.join(''));
}

/** What was kept of an evaluation; undefined where there is none. @throws PmpoError when the file is damaged. */
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
