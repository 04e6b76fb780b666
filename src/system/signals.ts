import type { EventEmitter } from 'node:events';
import { constants } from 'node:os';

const handled = ['SIGINT', 'SIGTERM'] as const;
export type StopSignal = (typeof handled)[number];

export interface SignalsOptions {
  /** Called once, at the first signal, for example to print that the run is stopping. */
  readonly onStop?: (signal: StopSignal) => void;
  /** Emits the signals. Default: `process`; tests pass another one. */
  readonly source?: EventEmitter;
  /** Ends the program at once. Default: `process.exit`; tests pass another one. */
  readonly exit?: (code: number) => void;
}

export interface Signals {
  /** Aborted by the first SIGINT or SIGTERM; its `reason` is the signal's name. */
  readonly signal: AbortSignal;
  /** Stops listening, so that signals have their previous effect again. */
  dispose(): void;
}

/**
 * Turns the first SIGINT (Ctrl-C) or SIGTERM into an AbortSignal, so that a job can save its state. The second one ends
 * the program at once with exit code 128 + the signal's number, as shells expect.
 */
export function handleSignals({
  onStop,
  source = process,
  exit = process.exit,
}: SignalsOptions = {}): Signals {
  const controller = new AbortController();
  const listener = (name: StopSignal) => {
    if (controller.signal.aborted) {
      exit(128 + constants.signals[name]);
      return;
    }
    controller.abort(name);
    onStop?.(name);
  };
  for (const name of handled) source.on(name, listener);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of handled) source.off(name, listener);
    },
  };
}
