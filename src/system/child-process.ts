import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * Programs run as children, each in a process group of its own: what is typed at the terminal (Ctrl-C) reaches this
 * process alone, which then ends the child once and in order, together with whatever the child has started.
 */

/** Starts a program in a process group of its own. */
export function spawnGroup(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn(command, [...args], { ...options, detached: true });
}

/** Sends a signal to every process of a child's group; nothing happens when there is none left. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: all of them have ended.
  }
}

/** Tells `log` each line of a child's output stream, and keeps the last ones. */
export function keepLastLines(
  stream: NodeJS.ReadableStream,
  log: (line: string) => void = () => {},
  limit = 20,
): readonly string[] {
  const lines: string[] = [];
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on('line', (line) => {
    lines.push(line);
    if (lines.length > limit) lines.shift();
    log(line);
  });
  return lines;
}

export interface RunResult {
  /** null when a signal ended it. */
  readonly code: number | null;
  /** The last lines of what it wrote on standard error; why it could not be started, if it could not. */
  readonly lastWords: readonly string[];
}

/** Runs a program to its end, its whole group with it when `signal` is aborted. Never throws: the result says how it went. */
export function runToEnd(command: string, args: readonly string[], signal?: AbortSignal): Promise<RunResult> {
  const child = spawnGroup(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = keepLastLines(child.stderr!);
  const stop = () => signalGroup(child, 'SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  return new Promise((resolve) => {
    const end = (code: number | null, lastWords: readonly string[]) => {
      signal?.removeEventListener('abort', stop);
      resolve({ code, lastWords });
    };
    child.on('error', (error) => end(null, [error.message]));
    child.on('close', (code) => end(code, lines));
  });
}
