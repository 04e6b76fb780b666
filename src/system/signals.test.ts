import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { handleSignals } from './signals.js';

function scene() {
  const source = new EventEmitter();
  const told: string[] = [];
  const exits: number[] = [];
  const signals = handleSignals({
    source,
    onStop: (signal) => told.push(signal),
    exit: (code) => exits.push(code),
  });
  return { source, told, exits, signals };
}

describe('handleSignals', () => {
  it('asks the program to stop at the first signal and ends it at the second', () => {
    const { source, told, exits, signals } = scene();
    expect(signals.signal.aborted).toBe(false);
    source.emit('SIGINT', 'SIGINT');
    expect(signals.signal.reason).toBe('SIGINT');
    expect([told, exits]).toEqual([['SIGINT'], []]);
    source.emit('SIGTERM', 'SIGTERM');
    expect([told, exits]).toEqual([['SIGINT'], [143]]);
  });

  it('stops listening when it is disposed', () => {
    const { source, signals } = scene();
    signals.dispose();
    expect(source.eventNames()).toEqual([]);
  });
});
