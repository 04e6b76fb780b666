import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { createInterface } from 'node:readline';

/**
 * Child processes, and the identity of processes. Each child runs in its own process group: Ctrl-C at the terminal then reaches
 * only this process, which ends the child once and in order, together with all processes that the child has started.
 */

/** Starts a program in a new process group. */
export function spawnGroup(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn(command, [...args], { ...options, detached: true, windowsHide: true });
}

/** Sends a signal to every process of a child's group, if any is left. Windows knows no signals: there it ends them. */
export function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  if (process.platform === 'win32') {
    spawnSync('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore', windowsHide: true });
    return;
  }
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: all of them have ended already.
  }
}

/**
 * Passes each line of a child's output stream to `log`.
 * @returns the last `limit` lines so far; the array is updated as lines arrive.
 */
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
  /** null if a signal ended the program, or it could not be started. */
  readonly code: number | null;
  /** The last lines of its standard error, or the reason why it could not be started. */
  readonly lastLines: readonly string[];
}

/** Runs a program to its end, and kills its whole process group if `signal` is aborted. Never throws: a failure is in the result. */
export function runToEnd(
  command: string,
  args: readonly string[],
  { signal, cwd }: { readonly signal?: AbortSignal; readonly cwd?: string } = {},
): Promise<RunResult> {
  const child = spawnGroup(command, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd });
  const lines = keepLastLines(child.stderr!);
  const stop = () => signalGroup(child, 'SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) stop();
  return new Promise((resolve) => {
    const end = (code: number | null, lastLines: readonly string[]) => {
      signal?.removeEventListener('abort', stop);
      resolve({ code, lastLines });
    };
    child.on('error', (error) => end(null, [error.message]));
    child.on('close', (code) => end(code, lines));
  });
}

/** One process, described so that another process can tell whether it still runs. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** Start time as an opaque text, because process numbers are reused; '' if the system does not tell. */
  readonly started: string;
}

/** The start time of a process from Linux's /proc; '' on other systems, and for a process that has ended. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in brackets, which may itself hold spaces and brackets: start after the last one.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; only its parent has not collected its exit code yet.
    return fields[0] === 'Z' ? '' : `${boot}/${fields[19]}`;
  } catch {
    return '';
  }
}

/** The identity of a process on this machine. */
export function processIdentity(pid: number): ProcessIdentity {
  return { host: hostname(), pid, started: startOf(pid) };
}

/** The identity of this process. */
export function thisProcess(): ProcessIdentity {
  return processIdentity(process.pid);
}

/** Whether a process still runs; undefined if it is on another machine. */
export function isRunning({ host, pid, started }: ProcessIdentity): boolean | undefined {
  if (host !== hostname()) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: the process exists and belongs to another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === '' || startOf(pid) === started;
}

/** `process 123 on host`, for messages. */
export function describeProcess({ host, pid }: ProcessIdentity): string {
  return `process ${pid} on ${host}`;
}
