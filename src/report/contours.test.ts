import { describe, expect, it } from 'vitest';
import { contourLines } from './contours.js';

const cells = 40;
const [low, high] = [-2, 2];
const at = (index: number) => low + ((high - low) * (index + 0.5)) / cells;
/** A grid of a function of two variables. */
const grid = (f: (x: number, y: number) => number) => ({
  columns: cells,
  rows: cells,
  values: Array.from({ length: cells * cells }, (_, i) => f(at(i % cells), at(Math.floor(i / cells)))),
  domain: [low, high] as const,
});

describe('contourLines', () => {
  it('are circles of the square root of the level for the squared distance', async () => {
    const lines = await contourLines(
      grid((x, y) => x ** 2 + y ** 2),
      [0.25, 1],
    );
    expect(lines.map(({ level }) => level)).toEqual([0.25, 1]);
    for (const { level, points } of lines) {
      expect(points.length).toBeGreaterThan(10);
      for (const { x, y } of points) expect(Math.hypot(x, y)).toBeCloseTo(Math.sqrt(level), 1);
    }
  });

  it('have the axes of the function, and end at the bounds of the domain', async () => {
    const [line, ...others] = await contourLines(
      grid((x, y) => x + 10 * y),
      [5],
    );
    expect(others).toEqual([]);
    for (const { x, y } of line!.points) {
      expect(x + 10 * y).toBeCloseTo(5, 5);
      expect(Math.abs(x)).toBeLessThan(high);
    }
  });
});
