import { formatCount } from '../../core/format.js';
import type { LiveEvent } from '../live/live-state.js';
import { type Player, playEpisodes, type SceneViewFactory } from './player.js';
import { refresh, remember } from './refresh.js';

/** Keeps the page of a run up to date while it goes on, and asks the run to stop or to save a checkpoint. */

const words = {
  running: 'The run goes on. This page follows it.',
  stopping: 'The run saves a checkpoint and stops.',
  stopped: 'The run has stopped.',
  ended: 'The run has ended.',
} as const;

/** How a run goes, in words. @param resume the command that resumes it. */
function statusText({ state, checkpoint, problem }: LiveEvent, resume: string): string {
  return [
    words[state],
    ...(checkpoint === undefined ? [] : [`Last checkpoint: ${formatCount(checkpoint)} steps.`]),
    ...(state === 'stopped' ? [`Resume it with: ${resume}`] : []),
    ...(problem === undefined ? [] : [`Its files cannot be looked at: ${problem}`]),
  ].join(' ');
}

/** The report of the page: its episodes are played, and it may be replaced by a newer one. */
class Report {
  readonly #main: Element;
  readonly #sceneView: SceneViewFactory;
  #player: Player | undefined;
  /** The newest report, while a part of it waits for the focus to leave its place. */
  #waiting: Element | undefined;

  constructor(main: Element, sceneView: SceneViewFactory) {
    this.#main = main;
    this.#sceneView = sceneView;
    for (const child of main.children) remember(child);
    this.#play();
    main.addEventListener('focusout', () => {
      setTimeout(() => {
        if (this.#waiting !== undefined) this.show(this.#waiting);
      });
    });
  }

  /** Shows a newer report. */
  show(next: Element): void {
    // A part of it may be shown later: the page takes elements of a copy.
    const isBehind = refresh(this.#main, next.cloneNode(true) as Element, (own, after) => {
      if (!own.matches('.episodes')) return own.replaceWith(after);
      const state = this.#player?.state();
      this.#player?.end();
      own.replaceWith(after);
      this.#player = playEpisodes(after as HTMLElement, this.#sceneView, state);
    });
    this.#waiting = isBehind ? next : undefined;
    this.#play();
  }

  /** Plays the episodes if there are some, and they are not played yet. */
  #play(): void {
    const section = this.#main.querySelector<HTMLElement>('.episodes');
    if (section !== null) this.#player ??= playEpisodes(section, this.#sceneView);
  }
}

/** Follows the run of this page. */
export function followRun(sceneView: SceneViewFactory): void {
  const bar = document.querySelector<HTMLElement>('.live');
  const main = document.querySelector('main');
  if (bar === null || main === null) return;
  const { resume = '' } = bar.dataset;
  // The page's own address has its token.
  const address = (path: string) => `${path}${location.search}`;
  const status = bar.querySelector('[role=status]') as HTMLElement;
  const say = (text: string) => {
    if (status.textContent !== text) status.textContent = text;
  };
  const buttons = [...bar.querySelectorAll<HTMLButtonElement>('[data-command]')];
  const report = new Report(main, sceneView);
  const versionOf = (page: ParentNode) =>
    Number(page.querySelector<HTMLElement>('.live')?.dataset.version ?? Number.NaN);
  let shown = versionOf(document);
  let newest: LiveEvent | undefined;
  let isLoading = false;

  const events = new EventSource(address('/events'));
  /** Shows the newest report, and hangs up after the last one. */
  const load = async () => {
    if (isLoading || newest === undefined) return;
    isLoading = true;
    try {
      if (shown < newest.version) {
        const response = await fetch(address('/'));
        const text = await response.text();
        if (!response.ok) throw new Error(text);
        const page = new DOMParser().parseFromString(text, 'text/html');
        const next = page.querySelector('main');
        if (next === null) throw new Error('it is not a report');
        report.show(next);
        shown = versionOf(page);
      }
      say(statusText(newest, resume));
    } catch (error) {
      say(`${statusText(newest, resume)} Its newest report could not be shown: ${(error as Error).message}`);
    } finally {
      isLoading = false;
    }
    if (shown < newest.version) {
      if (events.readyState !== EventSource.CLOSED) setTimeout(load, 1000);
    } else if (newest.isLast) events.close();
  };

  events.addEventListener('message', ({ data }) => {
    const event = JSON.parse(data) as LiveEvent;
    newest = event;
    if (!isLoading && shown >= event.version) say(statusText(event, resume));
    bar.dataset.state = event.state;
    for (const button of buttons) button.disabled = event.state !== 'running';
    void load();
  });
  events.addEventListener('error', () => {
    if (newest?.isLast === true) events.close();
    else say('The run does not answer. If its process has ended, this page shows its last state.');
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
      const problem = await fetch(address(`/${command}`), { method: 'POST' }).then(
        async (response) => (response.ok ? undefined : response.text()),
        (error: Error) => error.message,
      );
      if (problem !== undefined) say(`The run was not reached: ${problem}`);
      else if (command === 'checkpoint') say('A checkpoint will be saved at the next step.');
      if (problem !== undefined || command === 'checkpoint') button.disabled = false;
    });
  }
}
