import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { hostOf, type LoopbackServer, startLoopbackServer } from './loopback-server.js';

let server: LoopbackServer | undefined;
afterEach(() => server?.close());

/** The status and the text of an answer. */
const ask = (url: URL, headers: Record<string, string> = {}) =>
  new Promise<[number, string]>((resolve, reject) => {
    const sent = request(url, { headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve([response.statusCode ?? 0, text]));
    });
    sent.on('error', reject).end();
  });

describe('startLoopbackServer', () => {
  it('answers its own page, and says why it answers nobody else', async () => {
    server = await startLoopbackServer({
      port: 0,
      answer: ({ url, isFromPage, response }) => {
        if (url.pathname === '/broken') throw new Error('it is broken');
        response.end(`${url.pathname} ${isFromPage}`);
      },
      isPublic: (path) => path === '/library.wasm',
    });
    const url = new URL(server.url);
    expect(await ask(url)).toEqual([200, '/ false']);
    expect(await ask(url, { origin: url.origin })).toEqual([200, '/ true']);
    const at = (path: string) => new URL(path, url);
    expect(await ask(at(`/broken${url.search}`))).toEqual([500, 'it is broken']);
    const noToken = [403, 'The address lacks its token.\n'];
    expect(await ask(at('/'))).toEqual(noToken);
    expect(await ask(at('/?token=wrong'))).toEqual(noToken);
    expect(await ask(at('/library.wasm'))).toEqual([200, '/library.wasm false']);
    const evil = 'evil.example';
    expect(await ask(url, { origin: `http://${evil}` })).toEqual([
      403,
      'Another site may not ask for this.\n',
    ]);
    // What is public is served to its own page alone, too.
    for (const target of [url, at('/library.wasm')])
      expect(await ask(target, { host: evil })).toEqual([
        403,
        'This page is served at its own address only.\n',
      ]);
  });

  it('names a port that is taken', async () => {
    server = await startLoopbackServer({ port: 0, answer: () => {} });
    const { port } = new URL(server.url);
    await expect(startLoopbackServer({ port: Number(port), answer: () => {} })).rejects.toThrow(
      `127.0.0.1:${port}: the page cannot be served there`,
    );
  });

  it("knows its own address at HTTP's own port", () => {
    expect([80, 8080].map(hostOf)).toEqual(['127.0.0.1', '127.0.0.1:8080']);
  });
});
