/** Lines of equal value of a function of two variables. */

/** Values on a regular grid: row by row, y rising from row to row, at the centers of cells that divide the domain. */
export interface Grid {
  readonly columns: number;
  readonly rows: number;
  readonly values: readonly number[];
  /** The bounds of both variables. */
  readonly domain: readonly [low: number, high: number];
}

/** A line along which a function has the value `level`. */
export interface ContourLine {
  readonly level: number;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

interface Contour {
  readonly contour: {
    readonly value: number;
    /** Polygons of rings of points, in cells of the grid. */
    readonly coordinates: readonly (readonly (readonly (readonly [number, number])[])[])[];
  };
}

/** The contour lines of a grid at these levels. The bounds of the domain are not part of them. */
export async function contourLines(
  { columns, rows, values, domain: [low, high] }: Grid,
  levels: readonly number[],
): Promise<ContourLine[]> {
  const vega = await import('vega');
  const isocontour = { type: 'isocontour' as const, thresholds: [...levels], smooth: true };
  const source = { width: columns, height: rows, values: [...values] };
  const spec = { data: [{ name: 'contours', values: [source], transform: [isocontour] }] };
  const view = new vega.View(vega.parse(spec), { renderer: 'none', logLevel: vega.Error });
  try {
    await view.runAsync();
    const found = view.data('contours') as readonly Contour[];
    const scale = (cells: number, count: number) => low + ((high - low) * cells) / count;
    return found.flatMap(({ contour: { value, coordinates } }) =>
      coordinates.flat().flatMap((ring) =>
        insideParts(ring, columns, rows).map((part) => ({
          level: value,
          points: part.map(([x, y]) => ({ x: scale(x, columns), y: scale(y, rows) })),
        })),
      ),
    );
  } finally {
    view.finalize();
  }
}

/** The parts of a ring between its points on the bounds of the grid, along which it has been closed. */
function insideParts(
  ring: readonly (readonly [number, number])[],
  columns: number,
  rows: number,
): (readonly [number, number])[][] {
  const isInside = ([x, y]: readonly [number, number]) => x > 0 && x < columns && y > 0 && y < rows;
  const first = ring.findIndex((point) => !isInside(point));
  if (first < 0) return [[...ring]];
  const parts: (readonly [number, number])[][] = [];
  let part: (readonly [number, number])[] = [];
  // The last point of a ring is its first.
  const open = ring.slice(0, -1);
  for (const point of [...open.slice(first), ...open.slice(0, first), open[first % open.length]!]) {
    if (isInside(point)) part.push(point);
    else {
      if (part.length > 1) parts.push(part);
      part = [];
    }
  }
  return parts;
}
