import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PmpoError } from '../core/errors.js';
import {
  guards,
  type LoopbackExchange,
  type LoopbackServer,
  nonce,
  pageHeaders,
  startLoopbackServer,
} from '../system/loopback-server.js';
import { watchPage } from './html.js';
import { policyPath, publicFiles, type WatchData, type WatchedPolicy } from './watch-data.js';

/** Serves the page on which policies act in the browser. Nothing is simulated here: the page gets the files for it. */

/** What `startWatchServer` needs. */
export interface WatchServerOptions extends WatchData {
  /** 0 for a free port. */
  readonly port: number;
  /** The bytes of a run's policy as an ONNX model. */
  policy(run: number, name: WatchedPolicy['name']): Uint8Array;
}

/** MuJoCo's bindings make functions from text, which `'unsafe-eval'` permits; scripts still need the page's password. */
const policy = (password: string) =>
  `default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-${password}' 'unsafe-eval'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** The place of a file that the page asks for. */
function placeOf(file: (typeof publicFiles)[number]): URL | string {
  if (file === '/mujoco.wasm') return createRequire(import.meta.url).resolve('@mujoco/mujoco/mujoco.wasm');
  // `npm run build` puts both beside this module.
  return new URL(file === '/page.js' ? './page.js' : './onnxruntime.wasm', import.meta.url);
}

async function readPublic(file: (typeof publicFiles)[number]): Promise<Uint8Array> {
  try {
    return await readFile(placeOf(file));
  } catch (cause) {
    throw new PmpoError({
      where: `watch${file}`,
      what: 'a file of the page is missing',
      remedy: 'Run `npm run build`',
      cause,
    });
  }
}

const typeOf = (path: string) => (path.endsWith('.js') ? 'text/javascript' : 'application/wasm');

/** Starts to serve the page. @throws PmpoError if a file of the page is missing, or the port cannot be used. */
export async function startWatchServer({
  port,
  policy: policyBytes,
  ...data
}: WatchServerOptions): Promise<LoopbackServer> {
  const files = new Map(
    await Promise.all(publicFiles.map(async (file) => [file as string, await readPublic(file)] as const)),
  );
  const answer = ({ url, request, response, refuse }: LoopbackExchange) => {
    if (request.method !== 'GET') return refuse(405, 'Use GET.');
    const file = files.get(url.pathname);
    if (file !== undefined) {
      response.writeHead(200, { ...guards, 'content-type': typeOf(url.pathname) }).end(file);
      return;
    }
    for (const [i, { policies }] of data.runs.entries())
      for (const { name } of policies)
        if (url.pathname === policyPath(i, name)) {
          const bytes = policyBytes(i, name);
          response
            .writeHead(200, {
              ...guards,
              'content-type': 'application/octet-stream',
              'cache-control': 'no-store',
            })
            .end(bytes);
          return;
        }
    if (url.pathname !== '/') return refuse(404, 'There is no such page.');
    const password = nonce();
    response.writeHead(200, pageHeaders(policy(password))).end(watchPage(data, password));
  };
  return startLoopbackServer({ port, answer, isPublic: (path) => files.has(path) });
}
