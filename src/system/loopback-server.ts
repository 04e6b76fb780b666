import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PmpoError } from '../core/errors.js';

/**
 * Serves a page on the loopback interface alone, to the one who was told its address. Every request needs the token in that address, and
 * must come from the page itself: another site in the same browser can neither read it nor press its buttons.
 */

/** A request that has passed the checks, and how to answer it. */
export interface LoopbackExchange {
  readonly url: URL;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Whether a script of the page itself sent it. Browsers say so with every POST. */
  readonly isFromPage: boolean;
  /** Answers with a status and a line that says why. */
  refuse(status: number, why: string): void;
}

/** What `startLoopbackServer` needs. */
export interface LoopbackServerOptions {
  /** 0 for a free port. */
  readonly port: number;
  answer(exchange: LoopbackExchange): void | Promise<void>;
  /** Whether a path is served without the token, because its file is the same for everyone. Default: none is. */
  readonly isPublic?: (path: string) => boolean;
}

/** A server on the loopback interface. */
export interface LoopbackServer {
  /** The address of the page, with its token. */
  readonly url: string;
  readonly token: string;
  /** Ends it, and hangs up on those who are connected. */
  close(): Promise<void>;
}

const host = '127.0.0.1';

/** The host of the page's address, as browsers send it: without the port that is HTTP's own. */
export const hostOf = (port: number) => (port === 80 ? host : `${host}:${port}`);

/** A password for the scripts of one answer. */
export const nonce = () => randomBytes(18).toString('base64');

/** The headers of every answer: browsers do not guess its type, and give it to no other site. */
export const guards = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
} as const;

/** The headers of a page. @param policy its content security policy */
export const pageHeaders = (policy: string) => ({
  ...guards,
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': policy,
  'referrer-policy': 'no-referrer',
});

function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** Starts to serve. @throws PmpoError if the port cannot be used. */
export async function startLoopbackServer({
  port,
  answer,
  isPublic = () => false,
}: LoopbackServerOptions): Promise<LoopbackServer> {
  const token = randomBytes(24).toString('base64url');
  const check = async (request: IncomingMessage, response: ServerResponse) => {
    const own = hostOf(bound);
    const url = new URL(request.url ?? '/', `http://${own}`);
    const refuse = (status: number, why: string) => {
      response.writeHead(status, { ...guards, 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
    };
    // A name that an attacker has bound to this address would be another host.
    if (request.headers.host !== own) return refuse(403, 'This page is served at its own address only.');
    const { origin } = request.headers;
    if (origin !== undefined && origin !== `http://${own}`)
      return refuse(403, 'Another site may not ask for this.');
    if (!isPublic(url.pathname) && !equal(url.searchParams.get('token') ?? '', token))
      return refuse(403, 'The address lacks its token.');
    await answer({ url, request, response, isFromPage: origin !== undefined, refuse });
  };
  const server = createServer((request, response) => {
    void check(request, response).catch((error: unknown) => {
      if (response.headersSent) return response.destroy();
      const headers = { ...guards, 'content-type': 'text/plain; charset=utf-8' };
      return response.writeHead(500, headers).end((error as Error).message);
    });
  });
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
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${hostOf(bound)}/?token=${token}`,
    token,
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}
