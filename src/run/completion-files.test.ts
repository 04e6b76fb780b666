import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missingCompletions, writeCompletions } from './completion-files.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-completions-'));
  for (const updates of [0, 5, 10]) await writeCompletions(folder, { updates, completions: [] });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const file = (updates: number) => join(folder, `update-${String(updates).padStart(8, '0')}.jsonl`);

describe('the completions of a run that is resumed', () => {
  it('are all there', async () => {
    expect(await missingCompletions(folder, [0, 5, 10, 10])).toBeUndefined();
    expect(await missingCompletions(join(folder, 'none'), [])).toBeUndefined();
  });

  it('are missing in part', async () => {
    await rm(file(0));
    expect(await missingCompletions(folder, [0, 5, 10])).toBe(
      `Completions of earlier evaluations are missing or damaged: ${file(0)}: there is no such file. Comparisons with them are left out`,
    );
    await writeFile(file(5), '{"prompt": ');
    expect(await missingCompletions(folder, [0, 5, 10])).toContain(', and so for 1 more of 3 evaluations');
  });

  it('are damaged', async () => {
    await writeFile(file(10), 'nonsense\n');
    expect(await missingCompletions(folder, [0, 5, 10])).toContain(`${file(10)}: a line is not JSON`);
    await writeFile(file(0), 'nonsense\n');
    await expect(missingCompletions(folder, [0, 5, 10])).rejects.toThrow(`${file(0)}: a line is not JSON`);
  });
});
