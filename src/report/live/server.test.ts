import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticRun } from '../../../test/report/synthetic-run.js';
import { lockFolder } from '../../system/folder-lock.js';
import type { LiveCommand, LiveEvent } from './live-state.js';
import { type LiveServer, type LiveServerOptions, startLiveServer } from './server.js';

let folder: string;
let run: string;
const servers: LiveServer[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-live-'));
  const plan = { operator: 'pmpo', seed: 3, plateau: 500, halfway: 20_000, finished: false };
  run = await writeSyntheticRun(folder, plan);
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function start(options: Partial<LiveServerOptions> = {}) {
  const server = await startLiveServer({ folder: run, pollMilliseconds: 20, ...options });
  servers.push(server);
  return { server, url: new URL(server.url) };
}

const serve = async (onCommand?: (command: LiveCommand) => void) => (await start({ onCommand })).url;

/** Listens to the events of a server. */
function listen(url: URL, onEvent: (event: LiveEvent) => void = () => {}) {
  const events: LiveEvent[] = [];
  const sent = request(at(url, '/events'), (response) => {
    response.setEncoding('utf8').on('data', (part: string) => {
      for (const [, data] of part.matchAll(/^data: (.*)$/gm)) {
        const event = JSON.parse(data!) as LiveEvent;
        events.push(event);
        onEvent(event);
      }
    });
    response.on('error', () => {});
  });
  sent.on('error', () => {});
  sent.end();
  return { events, hangUp: () => sent.destroy() };
}

const versionOf = (html: string) => Number(/data-version="(\d+)"/.exec(html)![1]);

/** Sends a request with any headers. @returns the status and the text. */
function ask(url: URL, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; text: string; headers: IncomingMessage['headers'] }>(
    (resolve, reject) => {
      const sent = request(url, { method, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
        );
      });
      sent.on('error', reject).end();
    },
  );
}

const at = (url: URL, path: string) => new URL(`${path}${url.search}`, url);

describe('startLiveServer', () => {
  it('serves the report on the loopback interface, with its script and a policy that forbids other addresses', async () => {
    const url = await serve(() => {});
    expect(url.hostname).toBe('127.0.0.1');
    const { status, text, headers } = await ask(url);
    expect(status).toBe(200);
    for (const part of ['<h1>cartpole_swingup</h1>', 'data-command="stop"', 'EventSource'])
      expect(text.includes(part), part).toBe(true);
    const policy = headers['content-security-policy'];
    expect(policy).toContain("default-src 'none'");
    // Only the script that the server has written may run, and its password is another one each time.
    const nonce = /script-src 'nonce-([^']+)'/.exec(String(policy))![1]!;
    expect(text.includes(`<script nonce="${nonce}">`)).toBe(true);
    expect((await ask(url)).text.includes(nonce)).toBe(false);
    expect(headers['referrer-policy']).toBe('no-referrer');
  });

  it('refuses what does not come from its page', async () => {
    const commands: LiveCommand[] = [];
    const url = await serve((command) => commands.push(command));
    const origin = url.origin;
    const refused = async (target: URL, headers: Record<string, string>, method = 'GET') =>
      (await ask(target, headers, method)).status;
    const withoutToken = new URL('/', url);
    expect(await refused(withoutToken, {})).toBe(403);
    expect(await refused(new URL('/?token=wrong', url), {})).toBe(403);
    expect(await refused(new URL('/stop', url), { origin }, 'POST')).toBe(403);
    expect(await refused(new URL('/events', url), {})).toBe(403);
    // A name that resolves to this address (DNS rebinding), and another site's script.
    expect(await refused(url, { host: 'evil.example' })).toBe(403);
    expect(await refused(at(url, '/stop'), { origin: 'http://evil.example' }, 'POST')).toBe(403);
    expect(await refused(at(url, '/stop'), { origin: 'null' }, 'POST')).toBe(403);
    expect(await refused(at(url, '/stop'), {}, 'POST')).toBe(403);
    expect(await refused(at(url, '/stop'), { origin })).toBe(405);
    expect(await refused(at(url, '/elsewhere'), {})).toBe(404);
    expect(commands).toEqual([]);
    expect(await refused(at(url, '/checkpoint'), { origin }, 'POST')).toBe(204);
    expect(await refused(at(url, '/stop'), { origin }, 'POST')).toBe(204);
    expect(commands).toEqual(['checkpoint', 'stop']);
  });

  it('has no buttons for the run of another process', async () => {
    const url = await serve();
    expect((await ask(url)).text.includes('<button type="button" data-command')).toBe(false);
    expect((await ask(at(url, '/stop'), { origin: url.origin }, 'POST')).status).toBe(403);
  });

  it('tells when the files of the run have changed, and draws what it has told', async () => {
    const url = await serve();
    const { events, hangUp } = listen(url);
    await expect.poll(() => events.length).toBeGreaterThan(0);
    const first = ask(url);
    await appendFile(join(run, 'metrics.jsonl'), '{"kind":"notice","time":"","message":"something new"}\n');
    await expect.poll(() => events.at(-1)!.version).toBeGreaterThan(events[0]!.version);
    // The first page is perhaps still being drawn, of the files as they were before.
    const told = events.at(-1)!.version;
    const { text } = await ask(url);
    expect(text.includes('something new')).toBe(true);
    expect(versionOf(text)).toBeGreaterThanOrEqual(told);
    expect(versionOf((await first).text)).toBeGreaterThan(0);
    hangUp();
  });

  it('tells of the run of another process whether one works on it', async () => {
    const url = await serve();
    const { events, hangUp } = listen(url);
    await expect.poll(() => events.at(-1)?.state).toBe('stopped');
    expect((await ask(url)).text.includes(`data-resume="npx pmpo train --resume ${run}"`)).toBe(true);
    const { release } = await lockFolder(run);
    await expect.poll(() => events.at(-1)?.state).toBe('running');
    await release();
    await expect.poll(() => events.at(-1)?.state).toBe('stopped');
    expect(events.every(({ isLast }) => !isLast)).toBe(true);
    hangUp();
  });

  it('gives open pages the last report when the run ends, and waits for no others', async () => {
    const options = { onCommand: () => {}, pollMilliseconds: 1e6, farewellMilliseconds: 1e6 };
    await (await start(options)).server.end();

    const { server, url } = await start(options);
    let last = '';
    const page = listen(url, async ({ isLast }) => {
      if (!isLast) return;
      last = (await ask(url)).text;
      page.hangUp();
    });
    await expect.poll(() => page.events.length).toBe(1);
    expect(page.events[0]).toMatchObject({ state: 'running', isLast: false });
    await appendFile(join(run, 'metrics.jsonl'), '{"kind":"notice","time":"","message":"the very end"}\n');
    await server.end();
    expect(page.events.at(-1)).toMatchObject({ state: 'stopped', isLast: true });
    expect(last.includes('the very end')).toBe(true);
    await expect(ask(url)).rejects.toThrow();
  });

  it('does not wait for ever for a page that does not hang up', async () => {
    const { server, url } = await start({ onCommand: () => {}, farewellMilliseconds: 50 });
    const { events } = listen(url);
    await expect.poll(() => events.length).toBeGreaterThan(0);
    await server.end();
    expect(events.at(-1)!.isLast).toBe(true);
  });
});
