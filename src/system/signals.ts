import type { EventEmitter } from 'node:events';
import { constants } from 'node:os';
import { watchStarter } from './starter.js';

const handled = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof handled)[number];

export interface SignalsOptions {
  /** Called once, at the first signal, for example to print that the run is stopping. */
  readonly onStop?: (signal: StopSignal) => void;
  /** Emits the signals. Default: `process`; tests pass another one. */
  readonly source?: EventEmitter;
  /** Ends the program at once. Default: `process.exit`; tests pass another one. */
  readonly exit?: (code: number) => void;
  /** Watches the process that started this one. Default: `watchStarter`; tests pass another one. */
  readonly watch?: (onGone: () => void) => () => void;
}

export interface Signals {
  /** Aborted by the first signal; its `reason` is the signal's name. */
  readonly signal: AbortSignal;
  /** Stops listening, so that signals have their previous effect again. */
  dispose(): void;
}

/**
 * Turns the first SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal was closed) into an AbortSignal, so that a job can save its
 * state. A second SIGINT or SIGTERM ends the program at once with exit code 128 + the signal's number, as shells expect; a
 * second SIGHUP does not, because terminal and shell may both send one. The end of the npx or npm that started the program
 * counts as SIGTERM.
 */
export function handleSignals({
  onStop,
  source = process,
  exit = process.exit,
  watch = watchStarter,
}: SignalsOptions = {}): Signals {
  const controller = new AbortController();
  const listener = (name: StopSignal) => {
    if (controller.signal.aborted) {
      if (name === 'SIGHUP') return;
      exit(128 + constants.signals[name]);
      return;
    }
    controller.abort(name);
    onStop?.(name);
  };
  for (const name of handled) source.on(name, listener);
  const stopWatching = watch(() => {
    if (!controller.signal.aborted) listener('SIGTERM');
  });
  return {
    signal: controller.signal,
    dispose: () => {
      stopWatching();
      for (const name of handled) source.off(name, listener);
    },
  };
}
