import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PmpoError } from '../../core/errors.js';
import { openRunDirectory, type RunDirectory } from '../../run/run-directory.js';
import { escapeHtml } from '../html.js';
import { renderReport } from '../report.js';
import { readRun } from '../run-data.js';

/**
 * Serves the report of a run while it goes on, on the loopback interface alone. The page is the report itself; a small script asks for it
 * again when the run's files have changed, which server-sent events tell. Every request needs the token in the page's address, and must
 * come from that page: another site in the same browser can neither read the run nor stop it.
 */

/** What a person may ask of a run from its page. */
export type LiveCommand = 'stop' | 'checkpoint';

/** What becomes of the run, as its page is told. */
export interface LiveState {
  /** `stopped`: before its end, and it can be resumed. */
  readonly state: 'running' | 'stopping' | 'stopped' | 'ended';
  /** Steps of the newest checkpoint. */
  readonly checkpoint?: number;
}

/** What `startLiveServer` needs. */
export interface LiveServerOptions {
  /** The folder of the run. */
  readonly folder: string;
  /** 0, the default, for a free port. */
  readonly port?: number;
  /** Receives what the buttons ask for. Absent: the page has no buttons. */
  readonly onCommand?: (command: LiveCommand) => void;
  /** Milliseconds between two looks at the files. */
  readonly pollMilliseconds?: number;
}

/** A page that is being served. */
export interface LiveServer {
  /** The address of the page, with its token. */
  readonly url: string;
  /** The run's process is done with it: the page says so. */
  end(): void;
  close(): Promise<void>;
}

const host = '127.0.0.1';
/** The share of the time that drawing the report may take. */
const drawingShare = 0.2;

const policy =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Starts to serve the page of a run. @throws PmpoError if there is no such run, or the port cannot be used. */
export async function startLiveServer({
  folder,
  port = 0,
  onCommand,
  pollMilliseconds = 1000,
}: LiveServerOptions): Promise<LiveServer> {
  const directory = await openRunDirectory(folder);
  const token = randomBytes(24).toString('base64url');
  const page = new LivePage(directory, token, onCommand !== undefined);
  const listeners = new Set<ServerResponse>();
  const tell = () => {
    const event = `data: ${JSON.stringify({ version: page.version, ...page.state })}\n\n`;
    for (const response of listeners) response.write(event);
  };

  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
      response.end((error as Error).message);
    });
  });
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const own = `${host}:${(server.address() as AddressInfo).port}`;
    const url = new URL(request.url ?? '/', `http://${own}`);
    const refuse = (status: number, why: string) =>
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
    // A name that an attacker has bound to this address would be another host.
    if (request.headers.host !== own) return refuse(403, 'This page is served at its own address only.');
    const { origin } = request.headers;
    if (origin !== undefined && origin !== `http://${own}`)
      return refuse(403, 'Another site may not ask for this.');
    if (!equal(url.searchParams.get('token') ?? '', token))
      return refuse(403, 'The address lacks its token.');
    const command = /^\/(stop|checkpoint)$/.exec(url.pathname)?.[1] as LiveCommand | undefined;
    if (command !== undefined) {
      if (request.method !== 'POST') return refuse(405, 'Use POST.');
      // Browsers send it with every POST of a page.
      if (origin === undefined || onCommand === undefined)
        return refuse(403, 'This page has no such button.');
      if (command === 'stop' && page.state.state === 'running')
        page.state = { ...page.state, state: 'stopping' };
      onCommand(command);
      tell();
      return response.writeHead(204).end();
    }
    if (request.method !== 'GET') return refuse(405, 'Use GET.');
    if (url.pathname === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write(`data: ${JSON.stringify({ version: page.version, ...page.state })}\n\n`);
      listeners.add(response);
      response.on('close', () => listeners.delete(response));
      return;
    }
    if (url.pathname !== '/') return refuse(404, 'There is no such page.');
    const html = await page.html();
    return response
      .writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-store',
        'content-security-policy': policy,
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      })
      .end(html);
  };

  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new PmpoError({
          where: `${host}:${port}`,
          what: `the page cannot be served there: ${cause.message}`,
          remedy: 'Choose another port',
          cause,
        }),
      ),
    );
    server.listen(port, host, resolve);
  });
  const timer = setInterval(() => {
    void page.look().then((changed) => {
      if (changed) tell();
    });
  }, pollMilliseconds);
  await page.look();
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host}:${bound}/?token=${token}`,
    end() {
      void page.look().then(() => {
        if (page.state.state !== 'ended') page.state = { ...page.state, state: 'stopped' };
        tell();
      });
    },
    async close() {
      clearInterval(timer);
      for (const response of listeners) response.end();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The report of a run, drawn again when its files have changed, and not all the time. */
class LivePage {
  state: LiveState = { state: 'running' };
  /** Rises whenever the report would be another one. */
  version = 0;
  readonly #directory: RunDirectory;
  readonly #token: string;
  readonly #hasButtons: boolean;
  #seen = '';
  #drawn: { readonly version: number; readonly html: string } | undefined;
  #drawing: Promise<string> | undefined;
  /** When the next look may find a change, because drawing takes long. */
  #notBefore = 0;

  constructor(directory: RunDirectory, token: string, hasButtons: boolean) {
    this.#directory = directory;
    this.#token = token;
    this.#hasButtons = hasButtons;
  }

  /** Looks at the run's files. @returns whether there is something new to tell. */
  async look(): Promise<boolean> {
    const { metrics, summary, completions, episodes } = this.#directory.files;
    const marks = await Promise.all(
      [metrics, summary, completions, `${episodes}/last.json`].map((path) =>
        stat(path).then(
          ({ size, mtimeMs }) => `${size} ${mtimeMs}`,
          () => '',
        ),
      ),
    );
    const checkpoint = await this.#directory.checkpoints.latest();
    const hasEnded = marks[1] !== '';
    const before = JSON.stringify(this.state);
    this.state = {
      state: hasEnded ? 'ended' : this.state.state,
      ...(checkpoint === undefined ? {} : { checkpoint }),
    };
    const isOld = marks.join() !== this.#seen && (hasEnded || performance.now() >= this.#notBefore);
    if (isOld) {
      this.#seen = marks.join();
      this.version += 1;
    }
    return isOld || JSON.stringify(this.state) !== before;
  }

  /** The page as of the last look. */
  async html(): Promise<string> {
    if (this.#drawn?.version === this.version) return this.#drawn.html;
    this.#drawing ??= this.#draw().finally(() => {
      this.#drawing = undefined;
    });
    return this.#drawing;
  }

  async #draw(): Promise<string> {
    const { version } = this;
    const started = performance.now();
    const run = await readRun(this.#directory.path);
    const command = run.starts?.at(-1)?.command ?? `pmpo ui ${this.#directory.path}`;
    const report = await renderReport([run], { command, isLive: true });
    const script = `<script>${await liveScript()}</script>`;
    const end = report.lastIndexOf('</body>');
    const start = report.indexOf('<main>');
    const html = `${report.slice(0, start)}${this.#bar()}${report.slice(start, end)}${script}${report.slice(end)}`;
    this.#drawn = { version, html };
    this.#notBefore = performance.now() + (performance.now() - started) / drawingShare;
    return html;
  }

  /** What stands above the report: how the run goes, and its buttons. */
  #bar(): string {
    const buttons = this.#hasButtons
      ? '<button type="button" data-command="checkpoint">Save a checkpoint</button><button type="button" data-command="stop">Stop</button>'
      : '';
    return `<aside class="live" aria-label="The run" data-token="${escapeHtml(this.#token)}" data-folder="${escapeHtml(this.#directory.path)}"><p role="status"></p>${buttons}</aside>`;
  }
}

async function liveScript(): Promise<string> {
  try {
    const text = await readFile(new URL('../player-live.js', import.meta.url), 'utf8');
    return text.replaceAll('</script', '<\\/script');
  } catch (cause) {
    throw new PmpoError({
      where: 'report/player-live.js',
      what: 'the script of the page has not been built',
      remedy: 'Run `npm run build`',
      cause,
    });
  }
}
