import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  currentRows,
  type DefaultsRow,
  defaultsTable,
  goalOf,
  tasks,
} from '../../bench/support/defaults-table.js';

const row = (values: Partial<DefaultsRow>): DefaultsRow => ({
  task: 'catch',
  operator: 'pmpo',
  seed: 0,
  return: 1,
  episodes: 20,
  best: 1,
  curve: [],
  steps: 25_000,
  wallSeconds: 60,
  warnings: [],
  version: '0.1.0',
  commit: 'abc',
  date: '2026-01-01',
  defaults: 'today',
  settings: {},
  ...values,
});

const lineOf = (rows: readonly DefaultsRow[], start: string) =>
  defaultsTable(rows, { seeds: [0, 1, 2], command: 'npm run bench defaults' })
    .split('\n')
    .find((line) => line.startsWith(start));

describe('the table of defaults', () => {
  it('passes a task only if every seed reaches the goal', () => {
    const rows = [0, 1, 2].map((seed) => row({ seed, return: 0.95 }));
    expect(lineOf(rows, '| catch | pmpo')).toBe(
      '| catch | pmpo | 25,000 | ≥ 0.95 | 0.95 | 0.95 | 0.95 | 0.95 | 60 s | **passed** |',
    );
    const missed = [...rows.slice(0, 2), row({ seed: 2, return: 0.94 })];
    expect(lineOf(missed, '| catch | pmpo')).toContain('| missed (2 of 3) |');
    const diverged = [...rows.slice(0, 2), row({ seed: 2, return: null })];
    expect(lineOf(diverged, '| catch | pmpo')).toContain('| diverged | 0.95 | 60 s | missed (2 of 3) |');
    expect(lineOf(rows.slice(0, 2), '| catch | pmpo')).toContain('| – | 0.95 | 60 s | 2 of 2 so far |');
    expect(lineOf(rows, '| catch | mpo')).toContain('not run');
  });

  it('says the settings of a trial, and those that have become defaults', () => {
    const rows = [row({ settings: { 'critic.bins': '51', 'learner.samples': '8' } })];
    const table = (trial: readonly string[]) => defaultsTable(rows, { seeds: [0], command: 'c', trial });
    const became = 'Some runs were given what is the default now:';
    expect(table([])).toContain(`${became} critic.bins=51, learner.samples=8.`);
    expect(table(['critic.bins=51'])).toMatch(/^# Defaults, but for critic.bins=51\n/);
    expect(table(['critic.bins=51'])).toContain(`${became} learner.samples=8.`);
  });

  it('compares walker-walk with the worst seed of the tuned example', () => {
    const walker = tasks.find(({ name }) => name === 'walker-walk')!;
    const rows = [700, 800, 750].map((score, seed) =>
      row({ task: 'walker-walk', operator: 'example', seed, return: score }),
    );
    expect(goalOf(walker, [])).toBeUndefined();
    expect(goalOf(walker, rows)).toBe(700);
  });

  it('counts the newest row of each run, and none of other defaults', () => {
    const rows = [row({ return: 0.1 }), row({ return: 0.2 }), row({ seed: 1, defaults: 'earlier' })];
    expect(currentRows(rows, () => 'today')).toEqual([rows[1]]);
  });
});

/** The cells of each line of a table in Markdown that follows `start`. */
const cellsAfter = (file: string, start: string) => {
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const lines = text.slice(text.indexOf(start)).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|'));
  const after = lines.findIndex((line, i) => i > first && !line.startsWith('|'));
  const table = lines.slice(first + 2, after);
  return table.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
};

it('is what README.md shows of it', () => {
  const returns = new Map(
    cellsAfter('results/defaults/README.md', '# Defaults').map(
      ([task, operator, , , ...seeds]) => [`${task}/${operator}`, seeds.slice(0, 3).join(', ')] as const,
    ),
  );
  const shown = cellsAfter('README.md', '**What the defaults learn.**');
  expect(shown).toHaveLength(tasks.length);
  for (const [i, { name, steps }] of tasks.entries()) {
    const [, shownSteps, , ...operators] = shown[i]!;
    expect(shownSteps, name).toBe(steps.toLocaleString('en-US'));
    for (const [j, operator] of ['pmpo', 'mpo', 'dpo', 'kto'].entries()) {
      const plain = operators[j]!.replaceAll('*', '').replaceAll('−', '-');
      expect(plain, `${name}, ${operator}`).toBe(returns.get(`${name}/${operator}`) ?? '');
    }
  }
});
