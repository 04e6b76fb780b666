import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { PmpoError } from '../errors.js';
import { cacheFolder, ensureVirtualEnvironment } from './virtual-environment.js';

/** The simulator servers that come as a Python program: plugins/simulator-server. */
export const pythonServers = ['dm-control', 'gymnasium'] as const;
export type PythonServerKind = (typeof pythonServers)[number];

const pluginFolder = fileURLToPath(new URL('../../plugins/simulator-server', import.meta.url));

export interface PythonServerOptions {
  readonly kind: PythonServerKind;
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  /** Further arguments of the Python program. */
  readonly args?: readonly string[];
  readonly say: (line: string) => void;
  /** Told each line that the program logs while it runs. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface PythonServer {
  /** host:port */
  readonly address: string;
  /** Resolves when it has ended: undefined when it was closed, an error when it ended by itself. */
  readonly ended: Promise<PmpoError | undefined>;
  /** Stops it, its worlds included, and waits until it has ended. */
  close(): Promise<void>;
}

/** What the program itself says of its end, where it says it; else the last that was heard of it. */
function ownWords(lines: readonly string[]): string {
  const own = lines.findLast((line) => line.startsWith('pmpo-simulator-server: '));
  return own?.replace('pmpo-simulator-server: ', '') ?? lines.slice(-3).join('\n').trim();
}

/** How long a server may take to end before it is killed. */
const patienceMs = 10_000;
const lastLines = 20;

/**
 * Starts a server of DM Control's or Gymnasium's simulators: makes its Python environment if need be, starts the program
 * and waits until it listens.
 *
 * @throws PmpoError when there is no Python, pip fails, or the program ends before it listens, in its own words.
 */
export async function startPythonServer(options: PythonServerOptions): Promise<PythonServer> {
  const { kind, host = '127.0.0.1', port, args = [], say, log, signal } = options;
  const python = await ensureVirtualEnvironment({
    requirements: join(pluginFolder, 'requirements', `${kind}.txt`),
    folder: join(cacheFolder(), 'python'),
    say,
    signal,
  });
  const { PYTHONPATH } = process.env;
  const path = PYTHONPATH === undefined ? pluginFolder : `${pluginFolder}${delimiter}${PYTHONPATH}`;
  const child = spawn(
    python,
    [
      '-m',
      'pmpo_simulator_server',
      kind,
      ...['--host', host, '--port', String(port), '--until-stdin-closes'],
      ...args,
    ],
    {
      // Standard input is there to be closed when this process dies, in whatever way.
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1' },
      // A process group of its own: Ctrl-C reaches this process, which then ends the server once and in order.
      detached: true,
    },
  );
  const kill = () => child.kill('SIGTERM');
  let closing = false;
  let serving = false;
  const errors: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    errors.push(line);
    if (errors.length > lastLines) errors.shift();
    if (serving) log?.(line);
  });
  const ended = new Promise<PmpoError | undefined>((resolve) => {
    const end = (what: string) => {
      resolve(closing ? undefined : new PmpoError({ where: `the ${kind} server`, what }));
    };
    child.on('error', (error) => end(`it could not be started: ${error.message}`));
    child.on('close', (code, killed) => {
      end(ownWords(errors) || `it ended by itself with ${killed ?? `exit code ${code}`}`);
    });
  });
  const address = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const ready = /^Serving .* on (\S+:\d+)/m.exec(text)?.[1];
      if (ready === undefined) return;
      serving = true;
      resolve(ready);
    });
    ended.then((error) => reject(error));
  });
  return {
    address,
    ended,
    async close() {
      closing = true;
      kill();
      const impatient = setTimeout(() => child.kill('SIGKILL'), patienceMs);
      await ended;
      clearTimeout(impatient);
    },
  };
}
