import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../../src/core/statistics.js';
import { alongside, type Ending, start } from './processes.js';

/** Shared by the benchmarks: servers of the built program, Python programs to compare with, and ratios. */

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const program = join(root, 'dist/cli/main.js');

/** A server that runs until `close`. */
export interface RunningServer extends Ending {
  /** host:port */
  readonly address: string;
  readonly pid: number;
  close(): Promise<void>;
}

/** Starts a program that serves, and reads its address from the first line on which it prints one. */
export async function startServer(command: string, args: readonly string[]): Promise<RunningServer> {
  const { pid, child, ended, stop } = start(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const close = async () => {
    child.stdin!.end();
    await stop();
  };
  try {
    const address = new Promise<string>((resolve) => {
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const found = /\b[\w.[\]-]+:\d+\b/.exec(line)?.[0];
        if (found !== undefined) resolve(found);
      });
    });
    const server = new Map([['the server', { ended }]]);
    return { address: await alongside(server, 'it printed its address', address), pid, ended, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Starts `pmpo serve ARGS` on a free port. */
export function startOwnServer(args: readonly string[]): Promise<RunningServer> {
  return startServer(process.execPath, [program, 'serve', ...args, '--port', '0']);
}

/** Starts `pmpo serve ARGS` on a free port, calls `use` with its address and its process, and stops it. */
export async function withServer<T>(
  args: readonly string[],
  use: (address: string, pid: number) => Promise<T>,
): Promise<T> {
  const server = await startOwnServer(args);
  try {
    return await use(server.address, server.pid);
  } finally {
    await server.close();
  }
}

/** The interpreter of a Python environment of test/interop/requirements, which is created if necessary. */
export async function pythonOf(name: string): Promise<string> {
  const { ensureVenv } = (await import(new URL('../../scripts/venv.mjs', import.meta.url).href)) as {
    ensureVenv(name: string): string;
  };
  return ensureVenv(name);
}

/** Runs a Python script of bench/ and returns its standard output. */
export async function runPython(
  python: string,
  script: string,
  args: readonly (string | number)[],
): Promise<string> {
  const { stdout } = await promisify(execFile)(python, [join(root, 'bench', script), ...args.map(String)]);
  return stdout;
}

/** The median, minimum and maximum of the ratios of two sides, round by round. */
export function ratioOf(ours: readonly number[], theirs: readonly number[]) {
  const ratios = ours.map((value, i) => value / theirs[i]);
  return { median: median(ratios), minimum: Math.min(...ratios), maximum: Math.max(...ratios) };
}
