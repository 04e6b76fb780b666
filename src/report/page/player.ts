import { formatCount, formatNumber } from '../../core/format.js';
import { unpackBytes, unpackNumbers } from '../../core/packed-numbers.js';
import type { EpisodeRecording } from '../../environments/episode-recording.js';
import { readEmbedded } from '../embedded-episodes.js';
import { cameraOf, type SceneCamera } from '../scene-camera.js';
import { scenePicture } from '../scene-picture.js';
import { strip, stripWidth } from '../strip.js';

/** Plays the episodes of a report. Runs in a browser, and makes no request. */

/** Shows the moments of one episode. */
export interface View {
  /** @param moment a row of the recording; it may lie between two. */
  show(moment: number): void;
  /** The colors or the size may have changed. */
  refresh?(): void;
  dispose(): void;
}

/** Makes the view of a scene in an element, or returns undefined if the browser cannot. */
export type SceneViewFactory = (
  stage: HTMLElement,
  episode: EpisodeRecording,
  poses: Float32Array,
  camera: SceneCamera,
) => View | undefined;

/** The scene as drawings, one for each moment: for a browser without WebGL. */
function drawnView(
  stage: HTMLElement,
  { scene }: EpisodeRecording,
  poses: Float32Array,
  camera: SceneCamera,
): View {
  const svg = stage.querySelector('svg');
  stage.dataset.drawn = 'svg';
  return {
    show(moment) {
      if (svg !== null && scene !== undefined) svg.innerHTML = scenePicture(scene, poses, camera, moment);
    },
    dispose() {},
  };
}

function framesView(stage: HTMLElement, { frames }: EpisodeRecording): View | undefined {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  if (frames === undefined || context === null) return undefined;
  const { width, height, channels } = frames;
  const bytes = unpackBytes(frames.data);
  const size = width * height;
  canvas.width = width;
  canvas.height = height;
  canvas.className = 'frames';
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', stage.querySelector('img')?.alt ?? '');
  stage.replaceChildren(canvas);
  const image = context.createImageData(width, height);
  return {
    show(moment) {
      const start = Math.min(bytes.length / (size * channels) - 1, Math.round(moment)) * size * channels;
      for (let i = 0; i < size; i++) {
        for (let c = 0; c < 3; c++)
          image.data[4 * i + c] = bytes[start + i * channels + (channels === 1 ? 0 : c)] ?? 0;
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
    },
    dispose() {},
  };
}

/** One episode: its view, its lines along the rewards, and its return so far. */
class Panel {
  readonly episode: EpisodeRecording;
  readonly #view: View | undefined;
  readonly #cursors: readonly SVGLineElement[];
  readonly #soFar: Element | null;
  /** The return up to each moment. */
  readonly #returns: Float32Array;

  constructor(element: Element, episode: EpisodeRecording, sceneView: SceneViewFactory | undefined) {
    this.episode = episode;
    const stage = element.querySelector<HTMLElement>('.stage');
    this.#cursors = [...element.querySelectorAll<SVGLineElement>('.cursor')];
    this.#soFar = element.querySelector('.so-far');
    const rewards = unpackNumbers(episode.rewards);
    let sum = 0;
    this.#returns = rewards.map((reward, i) => {
      sum += reward * (i === 0 ? 0 : episode.every);
      return sum;
    });
    const { scene, poses } = episode;
    if (stage !== null && scene !== undefined && poses !== undefined) {
      const all = unpackNumbers(poses);
      const camera = cameraOf(scene, all);
      this.#view = sceneView?.(stage, episode, all, camera) ?? drawnView(stage, episode, all, camera);
    } else if (stage !== null && episode.frames !== undefined) this.#view = framesView(stage, episode);
  }

  show(step: number): void {
    const { every, rewards, steps } = this.episode;
    const last = rewards.rows - 1;
    const moment = Math.min(last, Math.min(step, steps) / every);
    this.#view?.show(moment);
    const share = last === 0 ? 0 : moment / last;
    for (const cursor of this.#cursors) {
      const x = String(strip.left + share * stripWidth);
      cursor.setAttribute('x1', x);
      cursor.setAttribute('x2', x);
    }
    const row = Math.round(moment);
    const soFar = row === last ? this.episode.return : (this.#returns[row] ?? 0);
    if (this.#soFar !== null)
      this.#soFar.textContent = `Return ${step >= steps ? '' : 'so far '}${formatNumber(soFar)} after ${formatCount(Math.min(steps, Math.round(step)))} steps${step >= steps ? ', the end' : ''}`;
  }

  refresh(): void {
    this.#view?.refresh?.();
  }

  dispose(): void {
    this.#view?.dispose();
  }
}

/** Steps per second of an episode whose simulator does not say how long a step is. */
const unknownRate = 30;

/** Where a player is. */
export interface PlayerState {
  readonly step: number;
  readonly isPlaying: boolean;
  readonly speed: string;
}

/** Plays the episodes of a section. */
export interface Player {
  state(): PlayerState;
  end(): void;
}

/** Brings the episodes of a page to life. @param start where it begins; default: playing from the start, or still for those who want that. */
export function playEpisodes(
  section: HTMLElement,
  sceneView?: SceneViewFactory,
  start?: PlayerState,
): Player | undefined {
  const data = section.querySelector('.episode-data')?.textContent;
  const bar = section.querySelector<HTMLElement>('.controls');
  if (data === undefined || data === null || bar === null) return undefined;
  const episodes = readEmbedded(data);
  const views = [...section.querySelectorAll('.view')];
  const panels = episodes.map((episode, i) => new Panel(views[i] as Element, episode, sceneView));
  const button = (act: string) =>
    bar.querySelector<HTMLButtonElement>(`[data-act=${act}]`) as HTMLButtonElement;
  const slider = bar.querySelector('input') as HTMLInputElement;
  const speed = bar.querySelector('select') as HTMLSelectElement;
  const output = bar.querySelector('output') as HTMLOutputElement;
  const most = Math.max(...episodes.map(({ steps }) => steps));
  const seconds = episodes.find(({ scene }) => scene?.secondsPerStep !== undefined)?.scene?.secondsPerStep;
  const rate = seconds === undefined ? unknownRate : 1 / seconds;
  slider.max = String(most);
  bar.hidden = false;

  let step = 0;
  let isPlaying = false;
  let isVisible = true;
  let frame = 0;
  let before: number | undefined;
  const show = () => {
    for (const panel of panels) panel.show(step);
    const at = Math.round(step);
    slider.value = String(at);
    const time = seconds === undefined ? '' : `, ${(at * seconds).toFixed(2)} s`;
    slider.setAttribute('aria-valuetext', `step ${at} of ${most}${time}`);
    output.textContent = `Step ${at} of ${most}${time}`;
  };
  const tick = (now: number) => {
    frame = 0;
    if (!isPlaying || !isVisible || document.hidden) return;
    if (before !== undefined) step += ((now - before) / 1000) * rate * Number(speed.value);
    before = now;
    // Starts again a second after the end.
    if (step > most + rate) step = 0;
    const shown = step;
    step = Math.min(step, most);
    show();
    step = shown;
    frame = requestAnimationFrame(tick);
  };
  const go = () => {
    before = undefined;
    if (frame === 0 && isPlaying && isVisible && !document.hidden) frame = requestAnimationFrame(tick);
  };
  const play = (on: boolean) => {
    isPlaying = on;
    section.dataset.playing = String(on);
    const act = button('play');
    act.setAttribute('aria-label', on ? 'Pause' : 'Play');
    if (on && step >= most) step = 0;
    go();
  };
  const move = (to: number) => {
    play(false);
    step = Math.max(0, Math.min(most, to));
    show();
  };
  const stride = Math.min(...episodes.map(({ every }) => every));
  button('play').addEventListener('click', () => play(!isPlaying));
  button('back').addEventListener('click', () => move(Math.round(step) - stride));
  button('forward').addEventListener('click', () => move(Math.round(step) + stride));
  slider.addEventListener('input', () => move(Number(slider.value)));
  bar.addEventListener('keydown', (event) => {
    const isOnButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLSelectElement;
    if (event.key !== ' ' || isOnButton) return;
    event.preventDefault();
    play(!isPlaying);
  });
  const observer = new IntersectionObserver(
    (entries) => {
      isVisible = entries.some(({ isIntersecting }) => isIntersecting);
      section.dataset.visible = String(isVisible);
      go();
    },
    { threshold: 0.1 },
  );
  observer.observe(section);
  document.addEventListener('visibilitychange', go);
  const refresh = () => {
    for (const panel of panels) panel.refresh();
    show();
  };
  const resized = new ResizeObserver(refresh);
  resized.observe(section);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', refresh);
  const wantsMotion = !matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (start !== undefined) speed.value = start.speed;
  step = Math.min(most, start?.step ?? Math.floor(most / 4));
  show();
  if (start === undefined && wantsMotion) step = 0;
  play(start?.isPlaying ?? wantsMotion);
  return {
    state: () => ({ step, isPlaying, speed: speed.value }),
    end() {
      isPlaying = false;
      cancelAnimationFrame(frame);
      observer.disconnect();
      resized.disconnect();
      document.removeEventListener('visibilitychange', go);
      dark.removeEventListener('change', refresh);
      for (const panel of panels) panel.dispose();
    },
  };
}

/**
 * Plays every part of the page that has episodes, each from the first time that it is on the screen: until then, and while the page
 * opens, the still pictures are there.
 */
export function playAll(sceneView?: SceneViewFactory): void {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting || !(target instanceof HTMLElement)) continue;
      observer.unobserve(target);
      playEpisodes(target, sceneView);
    }
  });
  const begin = () => {
    for (const section of document.querySelectorAll('.episodes')) observer.observe(section);
  };
  if (document.readyState === 'complete') begin();
  else addEventListener('load', () => setTimeout(begin), { once: true });
}
