import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { writeFiles } from '../../test/environments/certificates.js';
import { ConnectionLostError } from '../core/errors.js';
import { SecurityError } from '../grpc/errors.js';
import { ChatEndpoint, type ChatEndpointEffects, type ChatEndpointOptions } from './chat-endpoint.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface ReceivedRequest {
  readonly path: string;
  readonly authorization?: string;
  readonly body: Record<string, unknown>;
}

const answerBody = (content: unknown) => JSON.stringify({ choices: [{ message: { content } }] });

/** An endpoint that gives these answers in turn, and then repeats the last one. */
async function serve(...answers: readonly ((response: ServerResponse) => void)[]) {
  const received: ReceivedRequest[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    received.push({
      path: request.url ?? '',
      authorization: request.headers.authorization,
      body: JSON.parse(text) as Record<string, unknown>,
    });
    answers[Math.min(received.length, answers.length) - 1]?.(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}/v1`, received };
}

function endpoint(
  options: Partial<ChatEndpointOptions> & { url: string },
  effects: ChatEndpointEffects = {},
) {
  const slept: number[] = [];
  const sleep = async (milliseconds: number) => {
    slept.push(milliseconds);
  };
  const chat = new ChatEndpoint({ model: 'judge-1', deadlineSeconds: 5, ...options }, { sleep, ...effects });
  cleanups.push(() => chat.close());
  return { chat, slept };
}

const good = (text: string) => (response: ServerResponse) => response.end(answerBody(text));
const status =
  (code: number, body = '', headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    response.writeHead(code, headers).end(body);

describe('a request', () => {
  it('has the form of the OpenAI API', async () => {
    const { url, received } = await serve(good('B is better'));
    const { chat } = endpoint({ url: `${url}/` });
    const messages = [
      { role: 'system', content: 'Judge.' } as const,
      { role: 'user', content: 'A or B?' } as const,
    ];
    expect(await chat.complete(messages, { maxTokens: 5, temperature: 0, seed: 7 })).toBe('B is better');
    expect(received).toEqual([
      {
        path: '/v1/chat/completions',
        authorization: undefined,
        body: { model: 'judge-1', messages, max_tokens: 5, temperature: 0, seed: 7 },
      },
    ]);
  });

  it('may be a text instead of a chat', async () => {
    const { url, received } = await serve(good(''));
    expect(await endpoint({ url }).chat.complete('why?')).toBe('');
    expect(received[0]?.body).toEqual({ model: 'judge-1', messages: [{ role: 'user', content: 'why?' }] });
  });

  it('carries the token, which never appears in an error', async () => {
    const files = await writeFiles({ token: 'a-secret-token\n' });
    cleanups.push(() => files.remove());
    const { url, received } = await serve(good('yes'), status(400, 'a bad request'));
    const { chat } = endpoint({ url, token: { file: files.paths.token } });
    await chat.complete('why?');
    expect(received[0]?.authorization).toBe('Bearer a-secret-token');
    const failed = await chat.complete('why?').catch((error: Error) => error);
    expect(String(failed)).toMatch(/answers 400: a bad request/);
    expect(`${failed} ${(failed as Error).stack}`).not.toContain('secret-token');
  });

  it('waits while inFlight others are running', async () => {
    let open = 0;
    let most = 0;
    const { url } = await serve((response) => {
      open++;
      most = Math.max(most, open);
      setTimeout(() => {
        open--;
        response.end(answerBody('yes'));
      }, 20);
    });
    const { chat } = endpoint({ url, inFlight: 2 });
    await Promise.all(Array.from({ length: 6 }, () => chat.complete('why?')));
    expect(most).toBe(2);
  });
});

describe('an endpoint', () => {
  it('that is busy is asked again after Retry-After, or after a doubled delay', async () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    const { url, received } = await serve(
      status(429, '', { 'retry-after': '7' }),
      status(503, '', { 'retry-after': 'Thu, 01 Jan 2026 00:00:09 GMT' }),
      status(500, 'oh'),
      good('yes'),
    );
    const { chat, slept } = endpoint({ url }, { now: () => now });
    expect(await chat.complete('why?')).toBe('yes');
    expect(slept).toEqual([7000, 9000, 4000]);
    expect(received).toHaveLength(4);
  });

  it('that stays busy is an error', async () => {
    const { url, received } = await serve(status(429, '{"error": {"message": "quota"}}'));
    const { chat } = endpoint({ url, reconnect: { attempts: 2 } });
    const failed = chat.complete('why?');
    await expect(failed).rejects.toBeInstanceOf(ConnectionLostError);
    await expect(failed).rejects.toThrow(/answers 429: quota \(3 attempts\)\. Lower judge\.inFlight/);
    expect(received).toHaveLength(3);
  });

  it('whose Retry-After is an hour is an error at once', async () => {
    const { url, received } = await serve(status(429, '', { 'retry-after': '3600' }));
    await expect(endpoint({ url }).chat.complete('why?')).rejects.toThrow(/answers 429 \(1 attempts\)/);
    expect(received).toHaveLength(1);
  });

  it('that cannot be reached is retried, too', async () => {
    // A port that is free now, but was in use a moment ago.
    const gone = createServer();
    const port = await new Promise<number>((resolve) => {
      gone.listen(0, '127.0.0.1', () => resolve((gone.address() as { port: number }).port));
    });
    await new Promise((resolve) => gone.close(resolve));
    const notices: string[] = [];
    const { chat, slept } = endpoint(
      { url: `http://127.0.0.1:${port}`, reconnect: { attempts: 2 } },
      { notice: (message) => notices.push(message) },
    );
    await expect(chat.complete('why?')).rejects.toThrow(
      /cannot be reached: .*ECONNREFUSED.*\(3 attempts\)\. Check that it is running and that judge\.url is right/,
    );
    expect(slept).toEqual([1000, 2000]);
    expect(notices).toEqual([expect.stringMatching(/ECONNREFUSED.*Retrying/)]);
  });

  it('at a port that fetch() refuses is an error at once', async () => {
    const { chat, slept } = endpoint({ url: 'http://127.0.0.1:9' });
    await expect(chat.complete('why?')).rejects.toThrow(/bad port\. Give another port in judge\.url/);
    expect(slept).toEqual([]);
  });

  it('that does not answer runs into the deadline', async () => {
    const { url, received } = await serve(() => {});
    await expect(endpoint({ url, deadlineSeconds: 2 }).chat.complete('why?')).rejects.toThrow(
      /no answer within 2 s\. Raise judge\.deadlineSeconds/,
    );
    expect(received).toHaveLength(1);
  });

  it('gets no further attempts after the signal is aborted', async () => {
    const stop = new AbortController();
    const { url } = await serve(() => stop.abort());
    await expect(endpoint({ url }).chat.complete('why?', { signal: stop.signal })).rejects.toThrow(
      /the request was stopped/,
    );
  });

  const refused: [string, number, string, RegExp][] = [
    [
      'the token',
      401,
      '{"error": {"message": "bad key"}}',
      /answers 401: bad key\. Give the right token as judge\.token/,
    ],
    ['the address', 404, '', /answers 404\. Correct judge\.url or judge\.model/],
    ['the request', 400, '{"error": "too long"}', /answers 400: too long/],
  ];
  it.each(refused)('that refuses %s is not asked again', async (_what, code, body, message) => {
    const { url, received } = await serve(status(code, body));
    await expect(endpoint({ url }).chat.complete('why?')).rejects.toThrow(message);
    expect(received).toHaveLength(1);
  });

  const nonsense: [string, string, RegExp][] = [
    ['no JSON', '<html>', /has no text at choices\[0\]\.message\.content: <html>/],
    ['no choices', '{"choices": []}', /has no text/],
    ['no text', answerBody(null), /has no text/],
    ['nothing', '', /content: nothing/],
  ];
  it.each(nonsense)('whose answer has %s is an error', async (_what, body, message) => {
    const { url } = await serve((response) => response.end(body));
    await expect(endpoint({ url }).chat.complete('why?')).rejects.toThrow(message);
  });

  it('that redirects is not followed', async () => {
    const other = await serve(good('caught'));
    const { url } = await serve(status(307, '', { location: `${other.url}/chat/completions` }));
    const { chat } = endpoint({ url, reconnect: { attempts: 0 } });
    await expect(chat.complete('why?')).rejects.toThrow(/cannot be reached: .*redirect/);
    expect(other.received).toEqual([]);
  });
});

describe('a URL', () => {
  it.each(['judge.example', 'ftp://judge.example', 'https://me:secret@judge.example/v1'])(
    'of another kind is an error: %s',
    (url) => {
      expect(() => endpoint({ url })).toThrow(/judge\.url: .* is not the URL of an HTTP endpoint/);
      expect(() => endpoint({ url })).not.toThrow(/secret/);
    },
  );

  it('without TLS gets no token', () => {
    const token = { environmentVariable: 'JUDGE' };
    expect(() => endpoint({ url: 'http://judge.example/v1', token })).toThrow(SecurityError);
    expect(() => endpoint({ url: 'http://judge.example/v1', token })).toThrow(
      /judge\.token: it would be sent to judge\.example unencrypted\. Use https/,
    );
  });
});
