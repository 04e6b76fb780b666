import type { TopLevelSpec } from 'vega-lite';
import { drawSvg } from './draw.js';
import { escapeHtml } from './html.js';
import { color, fontFamily, themeCss } from './theme.js';

/** Figures of several panels with one legend, as one SVG file. */

/** The size of the drawing of a panel, without its title. */
export interface PanelSize {
  readonly width: number;
  readonly height: number;
}

/** The usual size of a panel. */
export const panelSize: PanelSize = { width: 330, height: 240 };

/** A line of the legend. */
export interface LegendItem {
  readonly label: string;
  readonly color: string;
}

/** A figure whose panels are drawn by their Vega-Lite charts. */
export interface FigureLayout {
  readonly title: string;
  readonly legend: readonly LegendItem[];
  readonly panels: readonly { readonly title: string; readonly spec: TopLevelSpec }[];
  /** Default: `panelSize`. */
  readonly size?: PanelSize;
  /** Panels in a row. Default: at most 3. */
  readonly columns?: number;
}

const space = { title: 24, gap: 14 };
const margin = { side: 16, top: 40, bottom: 14 };
const legendHeight = 24;

/** The legend over all panels, and the x at which it ends. */
function drawLegend(legend: readonly LegendItem[], y: number): { items: string; end: number } {
  let x = margin.side + 4;
  const items = legend
    .map(({ label, color: stroke }) => {
      const item = `<line x1="${x}" x2="${x + 20}" y1="${y - 4}" y2="${y - 4}" stroke="${stroke}" stroke-width="3"/><text x="${x + 26}" y="${y}" fill="${color('ink')}" font-size="12">${escapeHtml(label)}</text>`;
      x += 44 + label.length * 7.2;
      return item;
    })
    .join('');
  return { items, end: x };
}

/** Draws a figure as one SVG file, which follows the light or dark mode of the reader. */
export async function drawFigure({
  title,
  legend,
  panels,
  size = panelSize,
  columns: most = 3,
}: FigureLayout): Promise<string> {
  const columns = Math.min(most, panels.length);
  const rows = Math.ceil(panels.length / columns);
  const { items, end } = drawLegend(legend, 48);
  // Wide enough for title and legend; the width of text is an estimate.
  const width = Math.max(
    2 * margin.side + columns * size.width + (columns - 1) * space.gap,
    2 * margin.side + title.length * 8.6,
    margin.side + end,
  );
  const top = margin.top + (legend.length > 0 ? legendHeight : 0);
  const height = top + rows * (size.height + space.title + space.gap) + margin.bottom;
  const drawn = await Promise.all(
    panels.map(async ({ title: head, spec }, index) => {
      const x = margin.side + (index % columns) * (size.width + space.gap);
      const y = top + Math.floor(index / columns) * (size.height + space.title + space.gap);
      const svg = await drawSvg(spec);
      const text = `<text x="${x + 4}" y="${y + 15}" font-size="12.5" font-weight="600" fill="${color('ink')}">${escapeHtml(head)}</text>`;
      return `${text}${svg.replace('<svg ', `<svg x="${x}" y="${y + space.title}" `)}`;
    }),
  );
  const style = `<style>${themeCss('svg')}text{font-family:${fontFamily.replaceAll('"', "'")};font-variant-numeric:tabular-nums}</style>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"><title>${escapeHtml(title)}</title>${style}<rect width="100%" height="100%" fill="${color('ground')}"/><text x="${margin.side + 4}" y="26" font-size="14" font-weight="600" fill="${color('ink')}">${escapeHtml(title)}</text>${items}${drawn.join('')}</svg>\n`;
}
