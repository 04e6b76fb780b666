import { stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { resumeCommand } from '../../run/resume-command.js';
import { openRunDirectory, type RunDirectory } from '../../run/run-directory.js';
import { isLocked } from '../../system/folder-lock.js';
import {
  type LoopbackExchange,
  nonce,
  pageHeaders,
  startLoopbackServer,
} from '../../system/loopback-server.js';
import { escapeHtml } from '../html.js';
import { pageScript } from '../page-script.js';
import { renderReport } from '../report.js';
import { readRun } from '../run-data.js';
import type { LiveCommand, LiveEvent, LiveState } from './live-state.js';

/**
 * Serves the report of a run while it goes on, on the loopback interface alone. The page is the report itself; a small script asks for it
 * again when the run's files have changed, which server-sent events tell.
 */

/** What `startLiveServer` needs. */
export interface LiveServerOptions {
  /** The folder of the run. */
  readonly folder: string;
  /** 0, the default, for a free port. */
  readonly port?: number;
  /** Receives what the buttons ask for. Absent: the page has no buttons, because another process makes the run, if any. */
  readonly onCommand?: (command: LiveCommand) => void;
  /** Milliseconds between two looks at the files. */
  readonly pollMilliseconds?: number;
  /** The longest wait for open pages to get the last report. */
  readonly farewellMilliseconds?: number;
}

/** A page that is being served. */
export interface LiveServer {
  /** The address of the page, with its token. */
  readonly url: string;
  /** The run's process is done with it: open pages say so, get the last report, and are no longer served. Waits for no page if none is open. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/** The share of the time that drawing the report may take. */
const drawingShare = 0.2;

/** What a page may load: its own script, and nothing from elsewhere. */
const policy = (nonce: string) =>
  `default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-${nonce}'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** Starts to serve the page of a run. @throws PmpoError if there is no such run, or the port cannot be used. */
export async function startLiveServer({
  folder,
  port = 0,
  onCommand,
  pollMilliseconds = 1000,
  farewellMilliseconds = 10_000,
}: LiveServerOptions): Promise<LiveServer> {
  const directory = await openRunDirectory(folder);
  const page = new LivePage(directory, onCommand !== undefined);
  const listeners = new Set<ServerResponse>();
  const event = () => {
    const { version, state, isOver } = page;
    return `data: ${JSON.stringify({ version, ...state, isLast: isOver } satisfies LiveEvent)}\n\n`;
  };
  const tell = () => {
    for (const response of listeners) response.write(event());
  };

  const answer = async ({ url, request, response, isFromPage, refuse }: LoopbackExchange) => {
    const command = /^\/(stop|checkpoint)$/.exec(url.pathname)?.[1] as LiveCommand | undefined;
    if (command !== undefined) {
      if (request.method !== 'POST') return refuse(405, 'Use POST.');
      if (!isFromPage || onCommand === undefined) return refuse(403, 'This page has no such button.');
      if (command === 'stop' && page.state.state === 'running')
        page.state = { ...page.state, state: 'stopping' };
      onCommand(command);
      tell();
      response.writeHead(204).end();
      return;
    }
    if (request.method !== 'GET') return refuse(405, 'Use GET.');
    if (url.pathname === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(event());
      listeners.add(response);
      response.on('close', () => listeners.delete(response));
      return;
    }
    if (url.pathname !== '/') return refuse(404, 'There is no such page.');
    const { start, script, end } = await page.drawn();
    const password = nonce();
    response
      .writeHead(200, pageHeaders(policy(password)))
      .end(`${start}<script nonce="${password}">${script}</script>${end}`);
  };
  const server = await startLoopbackServer({ port, answer });
  const timer = setInterval(() => {
    void page.look().then((changed) => {
      if (changed) tell();
    });
  }, pollMilliseconds);
  await page.look();
  const close = async () => {
    clearInterval(timer);
    for (const response of listeners) response.end();
    await server.close();
  };
  return {
    url: server.url,
    async end() {
      clearInterval(timer);
      page.isOver = true;
      await page.look();
      tell();
      // Each page hangs up when it has the last report.
      const until = performance.now() + farewellMilliseconds;
      while (listeners.size > 0 && performance.now() < until)
        await new Promise((resolve) => setTimeout(resolve, 20));
      await close();
    },
    close,
  };
}

/** A drawn page: what comes before its script, the script, and the rest. */
interface DrawnPage {
  readonly version: number;
  readonly start: string;
  readonly script: string;
  readonly end: string;
}

/** The report of a run, drawn again when its files have changed, and not all the time. */
class LivePage {
  state: LiveState = { state: 'running' };
  /** Rises whenever the report would be another one. */
  version = 0;
  /** Whether this process, which has made the run, is done with it. */
  isOver = false;
  readonly #directory: RunDirectory;
  readonly #hasButtons: boolean;
  #seen = '';
  #drawn: DrawnPage | undefined;
  #drawing: Promise<void> | undefined;
  /** When the next look may find a change, because drawing takes long. */
  #notBefore = 0;

  constructor(directory: RunDirectory, hasButtons: boolean) {
    this.#directory = directory;
    this.#hasButtons = hasButtons;
  }

  /** Looks at the run's files. Never fails: the state has the reason. @returns whether there is something new to tell. */
  async look(): Promise<boolean> {
    const { state, version } = this;
    try {
      await this.#look();
    } catch (error) {
      this.state = { ...state, problem: (error as Error).message };
    }
    return this.version !== version || JSON.stringify(this.state) !== JSON.stringify(state);
  }

  async #look(): Promise<void> {
    const { metrics, summary, completions, episodes } = this.#directory.files;
    const files = [metrics, summary, completions, `${episodes}/last.json`, `${episodes}/best.json`];
    const marks = await Promise.all(
      files.map((path) =>
        stat(path).then(
          ({ size, mtimeMs }) => `${size} ${mtimeMs}`,
          () => '',
        ),
      ),
    );
    const checkpoint = await this.#directory.checkpoints.latest();
    const isWorkedOn = this.#hasButtons ? !this.isOver : await isLocked(this.#directory.path);
    const isStopping = isWorkedOn && this.state.state === 'stopping';
    this.state = {
      state: isWorkedOn ? (isStopping ? 'stopping' : 'running') : marks[1] === '' ? 'stopped' : 'ended',
      ...(checkpoint === undefined ? {} : { checkpoint }),
    };
    if (marks.join() === this.#seen || (isWorkedOn && performance.now() < this.#notBefore)) return;
    this.#seen = marks.join();
    this.version += 1;
  }

  /** The page as of the last look, or of a later one. */
  async drawn(): Promise<DrawnPage> {
    while (this.#drawn === undefined || this.#drawn.version < this.version) {
      this.#drawing ??= this.#draw().finally(() => {
        this.#drawing = undefined;
      });
      await this.#drawing;
    }
    return this.#drawn;
  }

  async #draw(): Promise<void> {
    const { version } = this;
    const started = performance.now();
    const run = await readRun(this.#directory.path);
    const command = run.starts?.at(-1)?.command ?? `pmpo ui ${this.#directory.path}`;
    const report = await renderReport([run], { command, isLive: true });
    const end = report.lastIndexOf('</body>');
    const start = report.indexOf('<main>');
    this.#drawn = {
      version,
      start: `${report.slice(0, start)}${this.#bar(version)}${report.slice(start, end)}`,
      script: await pageScript('player-live.js'),
      end: report.slice(end),
    };
    this.#notBefore = performance.now() + (performance.now() - started) / drawingShare;
  }

  /** What stands above the report: how the run goes, and its buttons. */
  #bar(version: number): string {
    const buttons = this.#hasButtons
      ? '<button type="button" data-command="checkpoint">Save a checkpoint</button><button type="button" data-command="stop">Stop</button>'
      : '';
    const data = {
      version: String(version),
      resume: resumeCommand(this.#directory.path),
    };
    const attributes = Object.entries(data).map(([name, value]) => ` data-${name}="${escapeHtml(value)}"`);
    return `<aside class="live" aria-label="The run"${attributes.join('')}><p role="status"></p>${buttons}</aside>`;
  }
}
