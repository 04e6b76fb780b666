import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticRun } from '../../../test/report/synthetic-run.js';
import { type LiveCommand, type LiveServer, startLiveServer } from './server.js';

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

async function serve(onCommand?: (command: LiveCommand) => void) {
  const server = await startLiveServer({ folder: run, onCommand, pollMilliseconds: 20 });
  servers.push(server);
  return new URL(server.url);
}

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
    expect(headers['content-security-policy']).toContain("default-src 'none'");
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

  it('tells when the files of the run have changed', async () => {
    const url = await serve();
    const versions: number[] = [];
    const events = request(at(url, '/events'), (response) => {
      response.setEncoding('utf8').on('data', (part: string) => {
        for (const [, data] of part.matchAll(/^data: (.*)$/gm))
          versions.push((JSON.parse(data!) as { version: number }).version);
      });
    });
    events.on('error', () => {});
    events.end();
    await expect.poll(() => versions.length).toBeGreaterThan(0);
    await appendFile(join(run, 'metrics.jsonl'), '{"kind":"notice","time":"","message":"something new"}\n');
    await expect.poll(() => versions.at(-1)).toBeGreaterThan(versions[0]!);
    expect((await ask(url)).text.includes('something new')).toBe(true);
    events.destroy();
  });
});
