import { PmpoError } from '../core/errors.js';
import { signalGroup, spawnGroup } from '../system/processes.js';

/** How a server elsewhere comes to new weights: by a program of the user's. */

export interface ReloadOptions {
  /** Aborted: the program is ended, and all of its group. */
  readonly signal?: AbortSignal;
  /** It is ended when it takes longer. */
  readonly deadlineSeconds: number;
}

const where = 'language.model.sampler.publish.command';
const limit = 'language.model.sampler.publish.deadlineSeconds';
/** Of what it says on standard error, for messages. */
const charactersKept = 2000;
/** How long a program that is asked to end has for it. */
const graceSeconds = 5;

/**
 * Runs the program, in a process group of its own; resolves when it has ended well. Servers that it leaves in the background
 * may outlive it. When it is ended, so is what it has started in its group, before the promise rejects: nothing of it goes on
 * beside a later run. What it has given a session of its own stays.
 *
 * @param command the program and its arguments, in which `{folder}` stands for `folder`
 * @throws PmpoError when it cannot be started, fails, takes too long or is stopped; with the last line that it said.
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
    let words = '';
    stderr.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-charactersKept);
    });
    let ended: 'late' | 'stopped' | undefined;
    let impatient: NodeJS.Timeout | undefined;
    const end = (why: 'late' | 'stopped') => {
      if (ended !== undefined) return;
      ended = why;
      signalGroup(child, 'SIGTERM');
      impatient = setTimeout(() => signalGroup(child, 'SIGKILL'), graceSeconds * 1000);
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
      clearTimeout(impatient);
      signal?.removeEventListener('abort', stop);
      stderr.destroy();
      if (problem === undefined) resolve();
      else reject(new PmpoError({ where, ...problem }));
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') settle({ what: `there is no program '${program}'`, cause });
      else settle({ what: `${program} cannot be run: ${cause.message}`, cause });
    });
    // Not its streams' end: a server that it leaves in the background may hold on to them.
    child.on('exit', (code, killedBy) => {
      // Those of its group that did not heed the first signal.
      if (ended !== undefined) signalGroup(child, 'SIGKILL');
      if (ended === 'stopped') return settle({ what: `${program} was stopped` });
      if (ended === undefined && code === 0) return settle();
      const last = words.trim().split('\n').at(-1)!.trim();
      const how =
        ended === 'late'
          ? `did not end within ${deadlineSeconds} s`
          : code === null
            ? `was ended by ${killedBy}`
            : `ended with exit code ${code}`;
      settle({
        what: last === '' ? `${program} ${how}` : `${program} ${how}: ${last}`,
        remedy:
          ended === 'late'
            ? `Raise ${limit} if it needs longer`
            : `Run it by hand with ${folder} for {folder}`,
      });
    });
  });
}
