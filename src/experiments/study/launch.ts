import { spawn } from 'node:child_process';
import type { RunAction, RunEnd } from './run-study.js';

/** How to start this very program: the interpreter, its flags and the entry. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

/** This program, as it was started. */
export function thisProgram(): Program {
  return { command: process.execPath, args: [...process.execArgv, process.argv[1] ?? ''] };
}

/** What `pmpo train` prints first for an error that a person can act on. */
const errorPrefix = 'pmpo: ';
const lastLines = 20;

/**
 * Starts runs as processes of their own, which share nothing but the simulators' server: one that runs out of memory or
 * is killed takes nothing with it.
 *
 * @param extra further arguments of `pmpo train`, those that say where the simulators are, say.
 */
export function launcher(program: Program, extra: readonly string[]) {
  return (action: RunAction, signal: AbortSignal | undefined): Promise<RunEnd> =>
    new Promise((resolve) => {
      const what = 'resume' in action ? ['--resume', action.resume] : [action.config];
      const args = [...program.args, 'train', ...what, ...('resume' in action ? extra : []), '--quiet'];
      // A process group of its own: Ctrl-C reaches this process alone, which then asks each run to stop.
      const child = spawn(program.command, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
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
        const diverged = message.includes('the parameters have diverged');
        end({
          state: diverged ? 'diverged' : 'failed',
          message: message || `it ended with ${killed ?? `exit code ${code}`}`,
        });
      });
    });
}
