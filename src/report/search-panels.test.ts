import { describe, expect, it } from 'vitest';
import { drawFigure, panelSize } from './figure-layout.js';
import { cellBounds, contourPanel, searchPanel, stabilityPanel } from './search-panels.js';

const legend = [{ label: 'both', color: '#123456' }];

/** The paths that an SVG file draws with this stroke. */
const strokes = (svg: string, color: string) =>
  [...svg.matchAll(/<path [^>]*>/g)].map(([path]) => path).filter((path) => path.includes(color));

describe('cellBounds', () => {
  it('are the middles between positions, and as far beyond the ends', () => {
    expect(cellBounds([0, 1, 3])).toEqual([-0.5, 0.5, 2, 4]);
    expect(cellBounds([2])).toEqual([1.5, 2.5]);
  });
});

describe('searchPanel', () => {
  const point = (evaluations: number, center: number) => ({
    evaluations,
    center,
    low: center / 2,
    high: center * 2,
  });
  const draw = (points: ReturnType<typeof point>[]) =>
    drawFigure({
      title: 'Searches',
      legend,
      panels: [
        {
          title: 'Sphere',
          spec: searchPanel(
            [{ label: 'both', points }],
            legend,
            { values: [1e-6, 10], evaluations: 1000 },
            panelSize,
          ),
        },
      ],
    });

  it('draws a line and its band, with a logarithmic axis for the values', async () => {
    const svg = await draw([point(0, 1), point(500, 1e-2), point(1000, 1e-4)]);
    expect(svg).toContain('>both<');
    const [band, line] = strokes(svg, '#123456');
    expect(band).toContain('Z');
    // Equal ratios are equal distances.
    const ys = [...line!.matchAll(/[ML]([\d.]+),([\d.]+)/g)].map(([, , y]) => Number(y));
    expect(ys).toHaveLength(3);
    expect(ys[1]! - ys[0]!).toBeCloseTo(ys[2]! - ys[1]!, 1);
  });

  it('draws what is not a number, infinite or 0 at the bounds', async () => {
    const svg = await draw([point(10, Number.NaN), point(100, Number.POSITIVE_INFINITY), point(1000, 0)]);
    const [, line] = strokes(svg, '#123456');
    expect(line).not.toMatch(/NaN|Infinity/);
  });
});

describe('contourPanel', () => {
  it('draws contours, a path and the minimum', async () => {
    const square = [
      { x: -1, y: -1 },
      { x: 1, y: 1 },
    ];
    const spec = contourPanel(
      {
        lines: [{ level: 1, points: square }],
        paths: [{ label: 'both', points: square }],
        minimum: { x: 0, y: 0 },
        domain: [-2, 2],
      },
      legend,
      panelSize,
    );
    const svg = await drawFigure({ title: 'Paths', legend, panels: [{ title: 'Sphere', spec }] });
    expect(strokes(svg, '#123456').length).toBeGreaterThanOrEqual(2);
    expect(svg).not.toMatch(/NaN/);
  });
});

describe('stabilityPanel', () => {
  it('draws a cell for each pair that ends, a cross for one that is lost, and the line', async () => {
    const spec = stabilityPanel(
      [
        { alpha: 0, beta: 0, value: undefined, lost: 1 },
        { alpha: 0, beta: 2, value: 1e-3, lost: 0 },
        { alpha: 1, beta: 0, value: 1e-4, lost: 0.3 },
        { alpha: 1, beta: 2, value: 1e-5, lost: 0 },
      ],
      { rejectShare: 0.5, values: [1e-5, 1] },
      panelSize,
    );
    const svg = await drawFigure({ title: 'Map', legend: [], panels: [{ title: 'Sphere', spec }] });
    const roles = (description: string) =>
      [...svg.matchAll(/aria-roledescription="([^"]*)"/g)].filter(([, role]) => role === description).length;
    expect(roles('rect mark')).toBe(3);
    expect(roles('point')).toBe(1);
    expect(svg).toContain('stroke-dasharray="6,4"');
    expect(svg).toContain('stroke-dasharray="1.5,4"');
    expect(svg).not.toMatch(/NaN/);
  });
});
