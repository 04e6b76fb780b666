import { PmpoError } from '../core/errors.js';
import { signalGroup, spawnGroup } from '../system/processes.js';

/** Runs the user's command that makes a separate sampling server load new weights. */

/** How a reload command is run. */
export interface ReloadOptions {
  /** Aborting it ends the command and its whole process group. */
  readonly signal?: AbortSignal;
  /** The command is ended after this time. */
  readonly deadlineSeconds: number;
}

const where = 'language.model.sampler.publish.command';
const limit = 'language.model.sampler.publish.deadlineSeconds';
/** How much of the command's standard error is kept for error messages. */
const stderrCharacters = 2000;
/** Time between SIGTERM and SIGKILL. */
const graceSeconds = 5;

/**
 * Runs the command in its own process group, and resolves when it has succeeded. A server that it started in the background may keep
 * running. If the command is stopped, its process group ends before the promise rejects, so that nothing interferes with a later run;
 * processes in another session stay.
 *
 * @param command the program and its arguments; `{folder}` in them is replaced by `folder`
 * @throws PmpoError with the last line of standard error if the command cannot be started, fails, takes too long or is stopped.
 */
export function runReloadCommand(
  command: readonly string[],
  folder: string,
  { signal, deadlineSeconds }: ReloadOptions,
): Promise<void> {
  const [program = '', ...args] = command.map((word) => word.replaceAll('{folder}', folder));
  if (signal?.aborted) return Promise.reject(new PmpoError({ where, what: `${program} was stopped` }));
  return new Promise((resolve, reject) => {
    const child = spawnGroup(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const stderr = child.stderr!;
    let output = '';
    stderr.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-stderrCharacters);
    });
    let reason: 'late' | 'stopped' | undefined;
    let killTimer: NodeJS.Timeout | undefined;
    const end = (why: 'late' | 'stopped') => {
      if (reason !== undefined) return;
      reason = why;
      signalGroup(child, 'SIGTERM');
      killTimer = setTimeout(() => signalGroup(child, 'SIGKILL'), graceSeconds * 1000);
    };
    const timer = setTimeout(() => end('late'), deadlineSeconds * 1000);
    const stop = () => end('stopped');
    signal?.addEventListener('abort', stop, { once: true });
    const settle = (problem?: {
      readonly what: string;
      readonly remedy?: string;
      readonly cause?: unknown;
    }) => {
      clearTimeout(timer);
      clearTimeout(killTimer);
      signal?.removeEventListener('abort', stop);
      stderr.destroy();
      if (problem === undefined) resolve();
      else reject(new PmpoError({ where, ...problem }));
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') settle({ what: `the program '${program}' was not found`, cause });
      else settle({ what: `${program} cannot be started: ${cause.message}`, cause });
    });
    // 'exit' rather than 'close': a server left in the background may keep the streams open.
    child.on('exit', (code, killedBy) => {
      // Kill the processes of its group that ignored SIGTERM.
      if (reason !== undefined) signalGroup(child, 'SIGKILL');
      if (reason === 'stopped') return settle({ what: `${program} was stopped` });
      if (reason === undefined && code === 0) return settle();
      const last = output.trim().split('\n').at(-1)!.trim();
      const how =
        reason === 'late'
          ? `did not end within ${deadlineSeconds} s`
          : code === null
            ? `was ended by ${killedBy}`
            : `ended with exit code ${code}`;
      settle({
        what: last === '' ? `${program} ${how}` : `${program} ${how}: ${last}`,
        remedy:
          reason === 'late'
            ? `Raise ${limit} if it needs more time`
            : `Run it by hand with ${folder} in place of {folder}`,
      });
    });
  });
}
