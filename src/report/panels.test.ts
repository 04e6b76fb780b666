import { describe, expect, it } from 'vitest';
import { aggregate, renderFigureSvg } from './panels.js';
import type { RunData, RunStatus } from './run-data.js';

/** A run with these mean returns, evaluated every `every` steps. */
function run(returns: readonly number[], { status = 'finished' as RunStatus, every = 10 } = {}): RunData {
  return {
    name: 'r',
    label: 'l',
    operator: 'pmpo',
    feedback: 'top-k',
    kind: 'control',
    environment: 'e',
    seed: 0,
    status,
    config: '',
    settings: {},
    metrics: [],
    evaluations: returns.map((value, i) => ({
      steps: every * (i + 1),
      stepUnit: 'environment steps',
      updates: i,
      wallSeconds: i,
      scoreName: 'return',
      scores: [value - 1, value + 1],
    })),
    notices: [],
  };
}
const centers = (points: ReturnType<typeof aggregate>) => points.map(({ x, center }) => [x, center]);

describe('aggregate', () => {
  it('is the interquartile mean over the seeds of a task', () => {
    const runs = { task: [run([0]), run([10]), run([20]), run([1000])] };
    const [point] = aggregate({ label: 'l', runs });
    expect(point).toMatchObject({ x: 10, center: 15 });
    expect(point.low).toBeGreaterThanOrEqual(0);
    expect(point.low).toBeLessThan(15);
    expect(point.high).toBeGreaterThan(15);
  });

  it('has an empty interval for a single seed', () => {
    expect(aggregate({ label: 'l', runs: { task: [run([4, 8])] } })).toEqual([
      { x: 10, center: 4, low: 4, high: 4 },
      { x: 20, center: 8, low: 8, high: 8 },
    ]);
  });

  it('counts a run that diverged as 0 until the end of the others', () => {
    const runs = { task: [run([8, 8, 8]), run([4], { status: 'diverged' })] };
    expect(centers(aggregate({ label: 'l', runs }))).toEqual([
      [10, 6],
      [20, 4],
      [30, 4],
    ]);
    const notFinite = { task: [run([8, Number.NaN], { status: 'diverged' })] };
    expect(centers(aggregate({ label: 'l', runs: notFinite }))).toEqual([
      [10, 8],
      [20, 0],
    ]);
  });

  it('leaves a run that ended early without diverging out of later points', () => {
    const runs = { task: [run([8, 8]), run([4])] };
    expect(centers(aggregate({ label: 'l', runs }))).toEqual([
      [10, 6],
      [20, 8],
    ]);
  });

  it('aligns tasks of different lengths by the share of their evaluations', () => {
    const runs = { short: [run([2, 4])], long: [run([10, 20, 30, 40], { every: 100 })] };
    expect(centers(aggregate({ label: 'l', runs }))).toEqual([
      [0.5, 11],
      [1, 22],
    ]);
  });

  it('is empty without runs', () => {
    expect(aggregate({ label: 'l', runs: { task: [] } })).toEqual([]);
  });
});

describe('renderFigureSvg', () => {
  it('draws panels under one legend, deterministically, with escaped names', async () => {
    const panel = (title: string) => ({
      title,
      lines: [
        { label: 'β < 1', runs: { task: [run([1, 2, 3])] } },
        { label: 'other', runs: { task: [run([3], { status: 'diverged' as const })] } },
      ],
    });
    const figure = { title: 'A & B', panels: ['one', 'two', 'three', 'four'].map(panel) };
    const svg = await renderFigureSvg(figure);
    // A boolean, so that a failure does not print the whole picture.
    const count = (pattern: RegExp) => svg.match(pattern)?.length ?? 0;
    expect(count(/<title>A &#38; B<\/title>/g)).toBe(1);
    expect(count(/>β &#60; 1<\/text>/g)).toBe(1);
    for (const title of ['one', 'two', 'three', 'four']) expect(svg.includes(`>${title}</text>`)).toBe(true);
    // Four panels, and the picture around them.
    expect(count(/<svg /g)).toBe(5);
    expect(count(/NaN|Infinity|undefined/g)).toBe(0);
    expect((await renderFigureSvg(figure)) === svg).toBe(true);
  });

  it('draws the scores of runs that were evaluated once, with a row for each line, and tasks apart', async () => {
    const lost = run([], { status: 'diverged' as const });
    const lines = (task: string) => [
      { label: 'one', runs: { [task]: [run([1]), run([3])] } },
      { label: 'two', runs: { [task]: [run([2]), lost] } },
      { label: 'lost', runs: { [task]: [lost] } },
    ];
    const both = { label: 'one', runs: { a: [run([1])], b: [run([5])] } };
    const svg = await renderFigureSvg({
      title: 'ends',
      panels: [
        { title: 'a', lines: lines('a') },
        { title: 'b', lines: lines('b') },
        { title: 'All tasks', lines: [both] },
      ],
    });
    const count = (pattern: RegExp) => svg.match(pattern)?.length ?? 0;
    expect(svg.includes('All tasks')).toBe(false);
    expect(count(/<svg /g)).toBe(3);
    // Each label names its row, once in each panel; a legend would repeat it.
    expect(['one', 'two', 'lost'].map((label) => count(new RegExp(`>${label}</text>`, 'g')))).toEqual([
      2, 2, 2,
    ]);
    const marks = (layer: number) =>
      svg
        .split(new RegExp(`<g class="[^"]*role-mark layer_${layer}_marks"`))
        .slice(1)
        .map((rest) => rest.split('</g>')[0]!.match(/<(?:path|line|rect) /g)?.length ?? 0);
    // The runs, the intervals, the centers, and the crosses of runs that diverged, in both panels.
    expect([0, 1, 2, 3].map(marks)).toEqual([
      [3, 3],
      [2, 2],
      [2, 2],
      [2, 2],
    ]);
    expect(count(/NaN|Infinity|undefined/g)).toBe(0);
  });
});
