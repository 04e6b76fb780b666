import { setTimeout as delay } from 'node:timers/promises';
import { PmpoError } from '../core/errors.js';
import { keepLastLines, signalGroup, spawnGroup } from '../system/child-process.js';

/** A Python program that runs beside this one: started, watched, and ended with all that it has started. */

export interface PythonProgramOptions {
  /** What messages call it, such as `the dm-control server`. */
  readonly name: string;
  /** The interpreter. */
  readonly python: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** What it prints on standard output when it is ready; the first group is handed over as `ready`. */
  readonly readyLine: RegExp;
  /** How it begins the line in which it says why it ends. */
  readonly complaint?: string;
  /** Told each line that it logs, from when it is ready on: what it said before that first. */
  readonly log?: (line: string) => void;
  /** Ends it before it is ready. */
  readonly signal?: AbortSignal;
  /** How long it may take to be ready. */
  readonly startSeconds?: number;
  /** How long it may take to end before it is killed. */
  readonly endSeconds?: number;
}

export interface PythonProgram {
  /** What its ready line said. */
  readonly ready: string;
  /** Resolves when it has ended: undefined when it was closed, an error when it ended by itself. */
  readonly ended: Promise<PmpoError | undefined>;
  /** Ends it, all that it has started included, and waits until it has ended. */
  close(): Promise<void>;
}

/** Why it ended in its own words, where it has said so; else the last that was heard of it. */
function ownWords(lines: readonly string[], complaint: string): string {
  const own = lines.findLast((line) => line.startsWith(complaint));
  return own?.slice(complaint.length) ?? lines.slice(-3).join('\n').trim();
}

/**
 * Starts a Python program and waits until it is ready. Its standard input is a pipe that closes when this process dies,
 * in whatever way: a program that ends with its standard input is never left behind.
 *
 * @throws PmpoError when it ends before it is ready, in its own words; when it is not ready in time; or when `signal` is
 *   aborted.
 */
export async function startPythonProgram(options: PythonProgramOptions): Promise<PythonProgram> {
  const { name, complaint = `${name}: `, log, signal, startSeconds = 120, endSeconds = 10 } = options;
  const child = spawnGroup(options.python, options.args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: options.env,
  });
  let closing = false;
  let started = false;
  const lines = keepLastLines(child.stderr!, (line) => {
    if (started) log?.(line);
  });
  // Writing nothing to it, this is only heard when the program closes it first.
  child.stdin!.on('error', () => {});
  // Whatever it has left behind goes with it, and lets go of the pipes.
  child.on('exit', () => signalGroup(child, 'SIGKILL'));
  const ended = new Promise<PmpoError | undefined>((resolve) => {
    const end = (what: string) => resolve(closing ? undefined : new PmpoError({ where: name, what }));
    child.on('error', (error) => end(`it could not be started: ${error.message}`));
    child.on('close', (code, killed) =>
      end(ownWords(lines, complaint) || `it ended by itself with ${killed ?? `exit code ${code}`}`),
    );
  });
  const close = async () => {
    closing = true;
    child.kill('SIGTERM');
    const impatient = setTimeout(() => signalGroup(child, 'SIGKILL'), endSeconds * 1000);
    await ended;
    clearTimeout(impatient);
  };

  const isReady = new Promise<string>((resolve) => {
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      if (started) return;
      text += chunk;
      const found = options.readyLine.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  const waiting = new AbortController();
  const stopWaiting = () => waiting.abort();
  signal?.addEventListener('abort', stopWaiting, { once: true });
  if (signal?.aborted) stopWaiting();
  const tooLong = delay(startSeconds * 1000, undefined, { signal: waiting.signal }).then(
    () => new PmpoError({ where: name, what: `it was not ready after ${startSeconds} s` }),
    () => new PmpoError({ where: name, what: 'stopped before it was ready' }),
  );
  try {
    const first = await Promise.race([isReady, ended, tooLong]);
    if (typeof first !== 'string') {
      await close();
      throw first ?? new PmpoError({ where: name, what: 'it ended before it was ready' });
    }
    started = true;
    // What it had to say while it started was kept until it was known whether it does.
    if (log !== undefined) lines.forEach(log);
    return { ready: first, ended, close };
  } finally {
    signal?.removeEventListener('abort', stopWaiting);
    stopWaiting();
  }
}
