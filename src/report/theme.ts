/**
 * Colors as CSS variables, each with a light and a dark value, so that one drawing serves both modes. The series follow
 * the palette of Okabe and Ito, which is safe for color-blind readers; the dark values are brighter.
 */
const light = {
  ground: '#fbfbfa',
  card: '#ffffff',
  ink: '#1c2024',
  muted: '#60666d',
  line: '#e3e5e8',
  grid: '#eceef0',
  accent: '#0067a8',
  robot: '#5b8db8',
  floor: '#f1f3f5',
  tile: '#ced3d8',
  good: '#0b7a55',
  bad: '#b3400a',
  series: ['#0072b2', '#d55e00', '#009e73', '#b05a8c', '#c98500', '#3a9bd9', '#5b6168', '#8c5a2b'],
};
const dark: typeof light = {
  ground: '#121416',
  card: '#1a1d20',
  ink: '#e8eaec',
  muted: '#9aa2aa',
  line: '#2c3136',
  grid: '#262b30',
  accent: '#6cb8f0',
  robot: '#6fa3d0',
  floor: '#212529',
  tile: '#3a4149',
  good: '#4fd0a5',
  bad: '#ff9a66',
  series: ['#5ab4f0', '#ff8f4d', '#2fc79a', '#e39bc4', '#f0b840', '#9fd6ff', '#a3abb3', '#d9a066'],
};

function declarations({ series, ...roles }: typeof light): string {
  const all = [
    ...Object.entries(roles),
    ...series.map((color, index): [string, string] => [`series-${index}`, color]),
  ];
  return all.map(([name, color]) => `--${name}:${color}`).join(';');
}

/** CSS that defines every variable, for the color scheme that the reader's system prefers. */
export function themeCss(selector: string): string {
  return `${selector}{color-scheme:light dark;${declarations(light)}}
@media (prefers-color-scheme:dark){${selector}{${declarations(dark)}}}`;
}

export type ColorRole = Exclude<keyof typeof light, 'series'>;

/** A color for a drawing. Programs that do not support CSS variables use its light value. */
export function color(role: ColorRole): string {
  return `var(--${role},${light[role]})`;
}

/** The color of a series. Colors repeat after the last one. */
export function seriesColor(index: number): string {
  const i = index % light.series.length;
  return `var(--series-${i},${light.series[i]})`;
}

export const fontFamily =
  'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
