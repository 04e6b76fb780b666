import type { Config, TopLevelSpec } from 'vega-lite';
import { color, fontFamily } from './theme.js';

const config: Config = {
  background: 'transparent',
  font: fontFamily.replaceAll('"', "'"),
  view: { stroke: null },
  axis: {
    labelColor: color('muted'),
    labelFontSize: 11,
    labelPadding: 6,
    titleColor: color('muted'),
    titleFontSize: 11.5,
    titleFontWeight: 'normal',
    titlePadding: 10,
    gridColor: color('grid'),
    domain: false,
    ticks: false,
  },
  axisX: {
    grid: false,
    domain: true,
    domainColor: color('line'),
    ticks: true,
    tickColor: color('line'),
    tickSize: 4,
  },
  legend: {
    labelColor: color('ink'),
    labelFontSize: 12,
    labelLimit: 260,
    titleColor: color('muted'),
    symbolStrokeWidth: 2.5,
    symbolSize: 220,
    orient: 'top',
    direction: 'horizontal',
    columnPadding: 18,
    offset: 8,
  },
  title: {
    color: color('ink'),
    fontSize: 13,
    fontWeight: 600,
    anchor: 'start',
    offset: 10,
    subtitleColor: color('muted'),
    subtitleFontSize: 11.5,
  },
};

/** Makes a browser show Vega's descriptions for screen readers on hovering. */
function withHoverTitles(svg: string): string {
  return svg.replaceAll(
    /<path aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="circle"([^>]*?)(?:\/>|><\/path>)/g,
    (_, label: string, rest: string) =>
      `<path class="hover" aria-label="${label}" role="graphics-symbol"${rest}><title>${label}</title></path>`,
  );
}

/** Draws a Vega-Lite chart as SVG text, with CSS variables for its colors. */
export async function drawSvg(spec: TopLevelSpec): Promise<string> {
  // Loaded on first use, because they are slow to load and only reports need them.
  const [vega, vegaLite] = await Promise.all([import('vega'), import('vega-lite')]);
  const { spec: compiled } = vegaLite.compile(spec, { config });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logLevel: vega.Error });
  try {
    return withHoverTitles(await view.toSVG());
  } finally {
    view.finalize();
  }
}
