import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Who holds a lock: one process, so that another one can tell whether it is still there. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** When it started, in units that only compare equal: process numbers are used again. '' where it cannot be known. */
  readonly started: string;
}

/** When a process started, from Linux's /proc; '' elsewhere, and for one that has ended. */
function startOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // From the third field on; the second is the program's name in brackets, which may hold anything.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended, though nobody has taken note of it yet.
    return fields[0] === 'Z' ? '' : `${boot}/${fields[19]}`;
  } catch {
    return '';
  }
}

export function thisProcess(): ProcessIdentity {
  return { host: hostname(), pid: process.pid, started: startOf(process.pid) };
}

/** Whether a process still runs; undefined when it is on another machine. */
export function isRunning({ host, pid, started }: ProcessIdentity): boolean | undefined {
  if (host !== hostname()) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and another user's.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === '' || startOf(pid) === started;
}

/** `process 123 on host`. */
export function describeProcess({ host, pid }: ProcessIdentity): string {
  return `process ${pid} on ${host}`;
}
