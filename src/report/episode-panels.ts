import { formatCount, formatNumber } from '../core/format.js';
import { type PackedNumbers, unpackBytes, unpackNumbers } from '../core/packed-numbers.js';
import type { EpisodeRecording, RecordedFrames, RecordedTraces } from '../environments/episode-recording.js';
import { embedEpisodes } from './embedded-episodes.js';
import { escapeHtml } from './html.js';
import { pageScript } from './page-script.js';
import { cameraOf } from './scene-camera.js';
import { pictureSize, scenePicture } from './scene-picture.js';
import { strip, stripWidth } from './strip.js';
import { seriesColor } from './theme.js';

/**
 * The part of a report in which episodes are played side by side. Without scripts it shows a still picture of each and its rewards; the
 * scripts of page/ bring it to life.
 */

/** An episode of the report. */
export interface ShownEpisode {
  /** Who played it: `First evaluation`, or a label of a comparison. */
  readonly title: string;
  /** When and how well. */
  readonly about: string;
  readonly episode: EpisodeRecording;
}

/** The line of a column of numbers in a strip between two values. */
function line(values: Float32Array, low: number, high: number, height: number, top: number): string {
  const across = stripWidth / Math.max(1, values.length - 1);
  const scale = high > low ? height / (high - low) : 0;
  const points = Array.from(values, (value, i) => {
    const y = top + height - (value - low) * scale;
    return `${(strip.left + i * across).toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${points.join('L')}`;
}

const cursor = (height: number) =>
  `<line class="cursor" x1="${strip.left}" x2="${strip.left}" y1="0" y2="${height}" stroke="var(--ink)" stroke-width="1.2"/>`;

/** The rewards of an episode as an area, with a line for the moment that is shown. */
function rewardStrip(rewards: PackedNumbers, [low, high]: readonly [number, number], label: string): string {
  const values = unpackNumbers(rewards).slice(1);
  if (values.length === 0) return '';
  const d = line(values, low, high, strip.height - 8, 4);
  const floor = low < 0 && high > 0 ? 4 + ((strip.height - 8) * high) / (high - low) : strip.height - 4;
  const area = `${d}L${strip.width - strip.right} ${floor}L${strip.left} ${floor}Z`;
  return `<svg class="strip" viewBox="0 0 ${strip.width} ${strip.height}" role="img" aria-label="${escapeHtml(label)}"><path d="${area}" fill="${seriesColor(0)}" opacity=".16"/><path d="${d}" fill="none" stroke="${seriesColor(0)}" stroke-width="1.3"/><line x1="${strip.left}" x2="${strip.width - strip.right}" y1="${floor}" y2="${floor}" stroke="var(--line)"/>${cursor(strip.height)}</svg>`;
}

const traceHeight = 22;

/** Numbers of an episode, a row for each. */
function traceStrips({ names, values }: RecordedTraces, color: string, label: string): string {
  if (names.length === 0) return '';
  const all = unpackNumbers(values);
  const rows = names.map((name, c) => {
    const own = Float32Array.from({ length: values.rows }, (_, r) => all[r * names.length + c]!);
    const [low, high] = own.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const top = c * traceHeight;
    return `<path d="${line(own, low, high, traceHeight - 8, top + 4)}" fill="none" stroke="${color}" stroke-width="1.1"/><text x="${strip.left}" y="${top + 9}" font-size="8.5" fill="var(--muted)" stroke="var(--card)" stroke-width="2.5" paint-order="stroke">${escapeHtml(name)}: ${formatNumber(low)} to ${formatNumber(high)}</text>`;
  });
  const height = names.length * traceHeight;
  return `<svg class="strip" viewBox="0 0 ${strip.width} ${height}" role="img" aria-label="${escapeHtml(label)}">${rows.join('')}${cursor(height)}</svg>`;
}

/** A frame as an uncompressed bitmap, which every browser shows. */
function bitmap({ width, height, channels, data }: RecordedFrames, index: number): string {
  const bytes = unpackBytes(data);
  const row = Math.ceil((width * 3) / 4) * 4;
  const file = Buffer.alloc(54 + row * height);
  file.write('BM');
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(-height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  const start = index * width * height * channels;
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) {
        const channel = channels === 1 ? 0 : 2 - c;
        file[54 + y * row + 3 * x + c] = bytes[start + (y * width + x) * channels + channel]!;
      }
  return `data:image/bmp;base64,${file.toString('base64')}`;
}

/** The moment of the still picture: a quarter into the episode, where something has happened. */
const stillMoment = (moments: number) => Math.floor((moments - 1) / 4);

function stage(
  { scene, poses, frames, observations, actions, rewards }: EpisodeRecording,
  title: string,
): string {
  if (scene !== undefined && poses !== undefined) {
    const all = unpackNumbers(poses);
    const picture = scenePicture(scene, all, cameraOf(scene, all), stillMoment(poses.rows));
    return `<div class="stage" data-kind="scene"><svg viewBox="0 0 ${pictureSize.width} ${pictureSize.height}" role="img" aria-label="${escapeHtml(`${title}: the simulated bodies`)}">${picture}</svg></div>`;
  }
  if (frames !== undefined) {
    const source = bitmap(frames, stillMoment(rewards.rows));
    return `<div class="stage" data-kind="frames"><img src="${source}" width="${frames.width}" height="${frames.height}" alt="${escapeHtml(`${title}: the observation ${frames.name}`)}"></div>`;
  }
  const strips = [
    observations === undefined ? '' : traceStrips(observations, seriesColor(0), `${title}: observations`),
    actions === undefined ? '' : traceStrips(actions, seriesColor(1), `${title}: actions`),
  ];
  const heads = ['Observations', 'Actions'];
  return `<div class="traces">${strips.map((svg, i) => (svg === '' ? '' : `<p class="eyebrow">${heads[i]}</p>${svg}`)).join('')}</div>`;
}

/** The bounds of the rewards of all episodes, with 0. */
function rewardBounds(episodes: readonly EpisodeRecording[]): [number, number] {
  const all = episodes.flatMap(({ rewards }) => [...unpackNumbers(rewards)]);
  return [Math.min(0, ...all), Math.max(0, ...all)];
}

/** The pictures of the buttons, in a square of 16: fonts may lack such characters. */
export const icon = (d: string, name = '') =>
  `<svg class="icon${name}" viewBox="0 0 16 16" aria-hidden="true"><path d="${d}" fill="currentColor"/></svg>`;

/** The button that plays and pauses. */
export const playButton = `<button type="button" data-act="play" aria-label="Play" title="Play or pause">${icon('M4 2.5v11L13 8z', ' if-paused')}${icon('M4 3h3v10H4zM9 3h3v10H9z', ' if-playing')}</button>`;

/** The choice of a speed. */
export const speedChoice =
  '<label class="muted">Speed <select name="speed"><option value="0.25">¼×</option><option value="0.5">½×</option><option value="1" selected>1×</option><option value="2">2×</option><option value="4">4×</option></select></label>';

const controls = `<div class="controls" hidden>
<button type="button" data-act="back" aria-label="One step back" title="One step back">${icon('M3 3h2v10H3zM13 3v10L6 8z')}</button>
${playButton}
<button type="button" data-act="forward" aria-label="One step forward" title="One step forward">${icon('M11 3h2v10h-2zM3 3v10l7-5z')}</button>
<input type="range" min="0" value="0" step="1" aria-label="Step of the episode">
<output class="muted"></output>
${speedChoice}
</div>`;

/** The episodes of a report, side by side; '' without any. @param withScript whether the script that plays them is added. */
export async function episodePanels(shown: readonly ShownEpisode[], withScript = true): Promise<string> {
  if (shown.length === 0) return '';
  const bounds = rewardBounds(shown.map(({ episode }) => episode));
  const panels = shown.map(({ title, about, episode }) => {
    const label = `${title}: reward per step, from ${formatNumber(bounds[0])} to ${formatNumber(bounds[1])}`;
    return `<div class="view"><h3>${escapeHtml(title)}</h3><p class="muted">${escapeHtml(about)}</p>${stage(episode, title)}${rewardStrip(episode.rewards, bounds, label)}<p class="so-far muted">Reward per step, ${formatNumber(bounds[0])} to ${formatNumber(bounds[1])}. Return ${formatNumber(episode.return)} after ${formatCount(episode.steps)} steps</p></div>`;
  });
  return `<section class="card episodes" aria-label="Episodes"><div class="views">${panels.join('\n')}</div>${controls}
<script type="application/json" class="episode-data">${embedEpisodes(shown.map(({ episode }) => episode))}</script></section>${withScript ? await scriptFor(shown) : ''}`;
}

/** The script that plays these episodes. */
async function scriptFor(shown: readonly ShownEpisode[]): Promise<string> {
  const has3d = shown.some(({ episode }) => episode.scene !== undefined);
  return `\n<script>${await pageScript(has3d ? 'player-3d.js' : 'player.js')}</script>`;
}
