import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** The groups of the processes that run. Ctrl-C does not reach them by itself, because each has a group of its own. */
const running = new Set();

/** Sends a signal to a process and all that it started, if any of them is left. */
function signalGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch {
    // All have ended.
  }
}

function endAll(signal) {
  for (const group of running) signalGroup(group, 'SIGKILL');
  process.exit(128 + constants.signals[signal]);
}

/**
 * Runs a command until it ends. After `limit` milliseconds it is told to end, and `grace` milliseconds later it and all that it started
 * are killed.
 *
 * @param options those of `spawn`
 */
export async function runInTime(command, args, options, limit, grace = 10_000) {
  const child = spawn(command, args, { ...options, detached: true });
  if (running.size === 0) for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, endAll);
  if (child.pid !== undefined) running.add(child.pid);
  let isLate = false;
  let killing;
  const ending = setTimeout(() => {
    isLate = true;
    child.kill();
    killing = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), grace);
  }, limit);
  try {
    await new Promise((resolve, reject) => {
      child.on('exit', resolve);
      child.on('error', reject);
    });
  } finally {
    clearTimeout(ending);
    clearTimeout(killing);
    // It may have left what it started.
    if (isLate) signalGroup(child.pid, 'SIGKILL');
    running.delete(child.pid);
    if (running.size === 0) for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, endAll);
  }
}
