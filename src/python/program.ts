import { setTimeout as delay } from 'node:timers/promises';
import { PmpoError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { keepLastLines, signalGroup, spawnGroup } from '../system/processes.js';

/** Python programs that run as children of this process: started, watched, and ended together with their own children. */

export interface PythonProgramOptions {
  /** The program's name in messages, such as `the dm-control server`. */
  readonly name: string;
  /** The interpreter to run it with. */
  readonly python: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Matches what the program prints on standard output when it is ready; the first group becomes `ready`. */
  readonly readyLine: RegExp;
  /** The prefix of the line on standard error in which the program says why it ends. */
  readonly complaint?: string;
  /** Receives each line that the program logs, from the moment it is ready, beginning with the lines logged before that. */
  readonly log?: (line: string) => void;
  /** Ends the program before it is ready. */
  readonly signal?: AbortSignal;
  /** How long it may take until it is ready. */
  readonly startSeconds?: number;
  /** How long it may take to end before it is killed. */
  readonly endSeconds?: number;
}

export interface PythonProgram {
  /** The first group of `readyLine`. */
  readonly ready: string;
  /** Resolves when the program has ended: to undefined if it was closed, to an error if it ended by itself. */
  readonly ended: Promise<PmpoError | undefined>;
  /** Ends the program and its own children, and waits until they have ended. */
  close(): Promise<void>;
}

/** The program's own reason for ending, if it gave one; otherwise its last lines. */
function reasonOf(lines: readonly string[], complaint: string): string {
  const own = lines.findLast((line) => line.startsWith(complaint));
  return own?.slice(complaint.length) ?? lines.slice(-3).join(' | ').trim();
}

/**
 * Starts a Python program and waits until it is ready. Its standard input is a pipe that closes when this process dies
 * for any reason, so a program that ends when its standard input closes is never left behind.
 *
 * @throws PmpoError if the program ends before it is ready, in its own words; if it is not ready in time; or if `signal` is
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
    if (started) log?.(foreignText(line, 2000));
  });
  // Nothing is written to it: an error means that the program closed it first, which is fine.
  child.stdin!.on('error', () => {});
  // Its own children end with it; they would also hold the pipes open.
  child.on('exit', () => signalGroup(child, 'SIGKILL'));
  const ended = new Promise<PmpoError | undefined>((resolve) => {
    const end = (what: string) => resolve(closing ? undefined : new PmpoError({ where: name, what }));
    child.on('error', (error) => end(`it could not be started: ${error.message}`));
    child.on('close', (code, killed) =>
      end(reasonOf(lines, complaint) || `it ended by itself with ${killed ?? `exit code ${code}`}`),
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
    // Lines from before the start succeeded were kept: a failed start reports them in its error.
    if (log !== undefined) lines.forEach(log);
    return { ready: first, ended, close };
  } finally {
    signal?.removeEventListener('abort', stopWaiting);
    stopWaiting();
  }
}
