import { spawn } from 'node:child_process';
import { PmpoError } from '../errors.js';

/** How a server elsewhere comes to new weights: by a program of the user's. */

export interface ReloadOptions {
  /** Aborted: the program is ended. */
  readonly signal?: AbortSignal;
  /** It is ended when it takes longer. */
  readonly deadlineSeconds: number;
}

const where = 'language.model.sampler.publish.command';
const limit = 'language.model.sampler.publish.deadlineSeconds';
/** Of what it says on standard error, for messages. */
const charactersKept = 2000;

/**
 * Runs the program; resolves when it has ended well. Servers that it leaves in the background may outlive it.
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
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], signal });
    let words = '';
    let late = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-charactersKept);
    });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, deadlineSeconds * 1000);
    const settle = (problem?: {
      readonly what: string;
      readonly remedy?: string;
      readonly cause?: unknown;
    }) => {
      clearTimeout(timer);
      child.stderr.destroy();
      if (problem === undefined) resolve();
      else reject(new PmpoError({ where, ...problem }));
    };
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (signal?.aborted) settle({ what: `${program} was stopped`, cause });
      else if (cause.code === 'ENOENT') settle({ what: `there is no program '${program}'`, cause });
      else settle({ what: `${program} cannot be run: ${cause.message}`, cause });
    });
    // Not its streams' end: a server that it leaves in the background may hold on to them.
    child.on('exit', (code, killedBy) => {
      if (code === 0) return settle();
      const last = words.trim().split('\n').at(-1)!.trim();
      const how = late
        ? `did not end within ${deadlineSeconds} s`
        : code === null
          ? `was ended by ${killedBy}`
          : `ended with exit code ${code}`;
      settle({
        what: last === '' ? `${program} ${how}` : `${program} ${how}: ${last}`,
        remedy: late ? `Raise ${limit} if it needs longer` : `Run it by hand with ${folder} for {folder}`,
      });
    });
  });
}
