import { formatCount } from '../../core/format.js';
import { playEpisodes, type SceneViewFactory } from './player.js';

/** Keeps the page of a run up to date while it goes on, and asks the run to stop or to save a checkpoint. */

interface LiveEvent {
  readonly version: number;
  readonly state: 'running' | 'stopping' | 'stopped' | 'ended';
  readonly checkpoint?: number;
}

const words = {
  running: 'The run goes on. This page follows it.',
  stopping: 'The run saves a checkpoint and stops.',
  stopped: 'The run has stopped.',
  ended: 'The run has ended.',
} as const;

/** Follows the run of this page. */
export function followRun(sceneView: SceneViewFactory): void {
  const bar = document.querySelector<HTMLElement>('.live');
  const main = document.querySelector('main');
  if (bar === null || main === null) return;
  const { token = '', folder = '' } = bar.dataset;
  const address = (path: string) => `${path}?token=${encodeURIComponent(token)}`;
  const status = bar.querySelector('[role=status]') as HTMLElement;
  const buttons = [...bar.querySelectorAll<HTMLButtonElement>('[data-command]')];
  let end = startPlayer(main, sceneView);
  let shown: number | undefined;
  let isLoading = false;
  let wanted = 0;

  /** Shows the newest report, with what the reader has opened left open. */
  const load = async () => {
    if (isLoading || wanted === shown) return;
    isLoading = true;
    const version = wanted;
    try {
      const response = await fetch(address('/'));
      const next = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('main');
      if (next !== null) {
        end = replace(main, next, end, sceneView);
        shown = version;
      }
    } finally {
      isLoading = false;
    }
    if (wanted !== shown) setTimeout(load, 1000);
  };

  const events = new EventSource(address('/events'));
  let isOver = false;
  events.addEventListener('message', ({ data }) => {
    const { version, state, checkpoint } = JSON.parse(data) as LiveEvent;
    const saved = checkpoint === undefined ? '' : ` Last checkpoint: ${formatCount(checkpoint)} steps.`;
    isOver = state === 'ended' || state === 'stopped';
    const resume = state === 'stopped' ? ` Resume it with: pmpo train --resume ${folder}` : '';
    const text = `${words[state]}${saved}${resume}`;
    if (status.textContent !== text) status.textContent = text;
    bar.dataset.state = state;
    for (const button of buttons) button.disabled = state !== 'running';
    // The page itself was drawn with the first version that it hears of.
    shown ??= version;
    wanted = version;
    void load();
  });
  events.addEventListener('error', () => {
    if (isOver) events.close();
    else
      status.textContent = 'The run does not answer. If its process has ended, this page is its last state.';
    for (const button of buttons) button.disabled = true;
  });
  for (const button of buttons) {
    button.addEventListener('click', async () => {
      const { command = '' } = button.dataset;
      if (
        command === 'stop' &&
        !confirm('Stop the run? It saves a checkpoint, from which it can be resumed.')
      )
        return;
      button.disabled = true;
      const { ok } = await fetch(address(`/${command}`), { method: 'POST' });
      if (command === 'checkpoint') {
        button.disabled = false;
        if (ok) status.textContent = 'A checkpoint will be saved at the next step.';
      }
    });
  }
}

/** Plays the episodes of the page. @returns a function that ends it. */
function startPlayer(main: Element, sceneView: SceneViewFactory): () => void {
  const section = main.querySelector<HTMLElement>('.episodes');
  return section === null ? () => {} : playEpisodes(section, sceneView);
}

/** Replaces the report by a newer one. Episodes that have not changed keep playing. */
function replace(main: Element, next: Element, end: () => void, sceneView: SceneViewFactory): () => void {
  const open = new Set(
    [...main.querySelectorAll('details[open]>summary')].map((summary) => summary.textContent),
  );
  for (const summary of next.querySelectorAll('details>summary'))
    if (open.has(summary.textContent)) summary.parentElement?.setAttribute('open', '');
  const data = (of: Element) => of.querySelector('.episode-data')?.textContent;
  const [before, after] = [main.querySelector('.episodes'), next.querySelector('.episodes')];
  const isSame = before !== null && after !== null && data(main) === data(next);
  if (isSame) after.replaceWith(before);
  else end();
  main.replaceChildren(...next.childNodes);
  return isSame ? end : startPlayer(main, sceneView);
}
