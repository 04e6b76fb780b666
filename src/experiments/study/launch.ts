import { spawn } from 'node:child_process';
import { divergedPhrase } from '../../core/errors.js';
import { endsWithParent } from '../../system/starter.js';
import type { RunAction, RunEnd } from './run-study.js';

/** A command that starts a program: the interpreter, its flags and the entry. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

/** The command that started this process. */
export function thisProgram(): Program {
  return { command: process.execPath, args: [...process.execArgv, process.argv[1] ?? ''] };
}

/** The prefix of the errors that `pmpo train` reports. */
const errorPrefix = 'pmpo: ';
const lastLines = 20;

/**
 * Launches runs in separate processes, which share only the server of the study: a run that exhausts its memory or is
 * killed does not affect the others.
 *
 * @param extra further arguments of `pmpo train` for runs that resume, such as the current address of the server.
 */
export function launcher(program: Program, extra: readonly string[]) {
  return (action: RunAction, signal: AbortSignal | undefined): Promise<RunEnd> =>
    new Promise((resolve) => {
      const what = 'resume' in action ? ['--resume', action.resume] : [action.config];
      const args = [...program.args, 'train', ...what, ...('resume' in action ? extra : []), '--quiet'];
      // In a separate process group, so that Ctrl-C reaches only this process, which then asks each run to stop.
      const child = spawn(program.command, args, {
        stdio: ['ignore', 'ignore', 'pipe'],
        detached: true,
        env: { ...process.env, [endsWithParent]: '1' },
      });
      const stop = () => child.kill('SIGINT');
      signal?.addEventListener('abort', stop, { once: true });
      let text = '';
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        text = (text + chunk).split('\n').slice(-lastLines).join('\n');
      });
      const end = (result: RunEnd) => {
        signal?.removeEventListener('abort', stop);
        resolve(result);
      };
      child.on('error', (error) => end({ state: 'failed', message: error.message }));
      child.on('close', (code, killed) => {
        if (code === 0) return end({ state: 'done' });
        if (signal?.aborted) return end({ state: 'stopped' });
        const at = text.lastIndexOf(errorPrefix);
        const message = at >= 0 ? text.slice(at + errorPrefix.length).trim() : text.trim();
        const diverged = message.includes(divergedPhrase);
        end({
          state: diverged ? 'diverged' : 'failed',
          message: message || `it ended with ${killed ?? `exit code ${code}`}`,
        });
      });
    });
}
