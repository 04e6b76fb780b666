import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Child processes of benchmarks, and what Linux knows of them: processor time and memory. */

/** The clock ticks of a second in /proc, which is 100 on every Linux that Node supports. */
const ticksPerSecond = 100;

/** A program that runs until `stop`. */
export interface Started {
  readonly pid: number;
  /** Resolves to the exit code; null if a signal has ended it. */
  readonly ended: Promise<number | null>;
  /** Asks it to end, and waits until it has; after 20 s it is killed. */
  stop(): Promise<void>;
}

/** Starts a program in a process group of its own, so that Ctrl-C stops the benchmark and the benchmark stops its programs. */
export function start(command: string, args: readonly string[], options: SpawnOptions = {}): Started {
  const child: ChildProcess = spawn(command, args, { stdio: 'ignore', ...options, detached: true });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('exit', resolve);
    child.once('error', reject);
  });
  return {
    pid: child.pid!,
    ended,
    async stop() {
      child.kill('SIGINT');
      const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(patience);
    },
  };
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

/** The processor time that processes have used so far, in seconds. */
export function processorSeconds(pids: readonly number[]): number {
  const ticks = pids.map((pid) => {
    const fields = statOf(pid);
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, one) => sum + one, 0) / ticksPerSecond;
}

/** The memory of processes in MB, with what several of them share counted once. */
export function megabytesOf(pids: readonly number[]): number {
  const kilobytes = pids.map((pid) =>
    Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0),
  );
  return kilobytes.reduce((sum, one) => sum + one, 0) / 1000;
}
