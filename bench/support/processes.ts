import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { signalGroup, spawnGroup } from '../../src/system/processes.js';

/** Child processes of benchmarks, and what Linux knows of them: processor time and memory. */

/** The clock ticks of a second in /proc, which is 100 on every Linux that Node supports. */
const ticksPerSecond = 100;

/** A program that runs until `stop`. */
export interface Started {
  readonly pid: number;
  /** The process with the streams that `options.stdio` asked for. */
  readonly child: ChildProcess;
  /** Resolves to the exit code; null if a signal has ended it. Rejects if the program cannot be started. */
  readonly ended: Promise<number | null>;
  /** Asks it to end, and waits until it has; if it does not, it is killed with all that it has started. */
  stop(): Promise<void>;
}

/** The programs that run. */
const running = new Set<Started>();

function killAll() {
  for (const { child } of running) signalGroup(child, 'SIGKILL');
}

let isEnding = false;

async function endAll(signal: NodeJS.Signals) {
  // Some shells and runners send a signal twice.
  if (isEnding) return;
  isEnding = true;
  await Promise.allSettled([...running].map((one) => one.stop()));
  process.exit(128 + constants.signals[signal]);
}

const endingSignals = ['SIGINT', 'SIGTERM'] as const;

function watch(one: Started) {
  if (running.size === 0) {
    for (const signal of endingSignals) process.on(signal, endAll);
    // If the benchmark ends by an error that nothing catches, its `finally` does not run.
    process.on('exit', killAll);
  }
  running.add(one);
}

function forget(one: Started) {
  running.delete(one);
  if (running.size > 0) return;
  for (const signal of endingSignals) process.off(signal, endAll);
  process.off('exit', killAll);
}

/**
 * Starts a program in a process group of its own. Ctrl-C then reaches only the benchmark, which stops what it has started, and ends.
 *
 * @param patienceMs how long `stop` waits before it kills the program
 */
export function start(
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
  patienceMs = 20_000,
): Started {
  const child = spawnGroup(command, args, { stdio: 'ignore', ...options });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
  const one: Started = {
    pid: child.pid!,
    child,
    ended,
    async stop() {
      child.kill('SIGINT');
      const patience = setTimeout(() => signalGroup(child, 'SIGKILL'), patienceMs);
      try {
        await ended;
      } finally {
        clearTimeout(patience);
      }
    },
  };
  if (child.pid !== undefined) watch(one);
  // The error reaches the caller that awaits `ended`. One that does not must not end the benchmark.
  ended.catch(() => {}).finally(() => forget(one));
  return one;
}

/** What `alongside` needs to know of a program. */
export type Ending = Pick<Started, 'ended'>;

/** Waits for `work` as long as the programs run. @param programs by the names that the error uses */
export async function alongside<T>(
  programs: ReadonlyMap<string, Ending>,
  what: string,
  work: Promise<T>,
): Promise<T> {
  const endings = [...programs].map(async ([name, { ended }]): Promise<never> => {
    throw new Error(`${name} ended (exit code ${await ended}) before ${what}`);
  });
  return await Promise.race([work, ...endings]);
}

/** Tries until `attempt` finds something, as long as the programs run, for at most `seconds`. */
export async function eventually<T>(
  programs: ReadonlyMap<string, Ending>,
  what: string,
  attempt: () => Promise<T | undefined>,
  seconds = 240,
): Promise<T> {
  const until = performance.now() + 1000 * seconds;
  let isOver = false;
  let cause: unknown;
  const tries = async (): Promise<T> => {
    for (;;) {
      const found = await attempt().catch((error: unknown) => {
        cause = error;
        return undefined;
      });
      if (found !== undefined) return found;
      if (isOver || performance.now() > until) {
        throw new Error(`${what} has not happened within ${seconds} s`, { cause });
      }
      await pause(200);
    }
  };
  try {
    return await alongside(programs, what, tries());
  } finally {
    isOver = true;
  }
}

/** The fields of /proc/PID/stat from the third on; the second, the program's name, may contain spaces. */
function statOf(pid: number): readonly string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** The processes that descend from `pid`, and `pid` itself. */
export function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), Number(statOf(Number(name))[1]));
    } catch {
      // It has ended in the meantime.
    }
  }
  const found = [pid];
  for (let i = 0; i < found.length; i++) {
    for (const [child, parent] of parents) if (parent === found[i]) found.push(child);
  }
  return found;
}

/** The processor time that processes have used so far in seconds: in the programs, and in the kernel for them. */
export function processorTimes(pids: readonly number[]): { readonly own: number; readonly kernel: number } {
  const seconds = (field: number) =>
    pids.reduce((sum, pid) => sum + Number(statOf(pid)[field]), 0) / ticksPerSecond;
  return { own: seconds(11), kernel: seconds(12) };
}

/** The processor time that processes have used so far, in seconds. */
export function processorSeconds(pids: readonly number[]): number {
  const { own, kernel } = processorTimes(pids);
  return own + kernel;
}

/** The memory of processes in MB, with what several of them share counted once. */
export function megabytesOf(pids: readonly number[]): number {
  const kilobytes = pids.map((pid) =>
    Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0),
  );
  // What /proc calls kB are 1,024 bytes.
  return (1024 * kilobytes.reduce((sum, one) => sum + one, 0)) / 1e6;
}
