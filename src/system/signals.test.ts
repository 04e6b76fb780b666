import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { handleSignals } from './signals.js';

function scene() {
  const source = new EventEmitter();
  const told: string[] = [];
  const exits: number[] = [];
  const watched: { onGone?: () => void } = {};
  const signals = handleSignals({
    source,
    onStop: (signal) => told.push(signal),
    exit: (code) => exits.push(code),
    watch: (onGone) => {
      watched.onGone = onGone;
      return () => {
        watched.onGone = undefined;
      };
    },
  });
  return { source, told, exits, signals, watched };
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

  it('lets the program save its state when its terminal is closed, however often that is told', () => {
    const { source, told, exits, signals } = scene();
    source.emit('SIGHUP', 'SIGHUP');
    source.emit('SIGHUP', 'SIGHUP');
    expect(signals.signal.reason).toBe('SIGHUP');
    expect([told, exits]).toEqual([['SIGHUP'], []]);
  });

  it('stops the program when the process that started it has ended, but does not hurry it', () => {
    const { source, told, exits, signals, watched } = scene();
    watched.onGone?.();
    expect([signals.signal.reason, told, exits]).toEqual(['SIGTERM', ['SIGTERM'], []]);
    const other = scene();
    other.source.emit('SIGHUP', 'SIGHUP');
    other.watched.onGone?.();
    expect([other.told, other.exits]).toEqual([['SIGHUP'], []]);
    source.emit('SIGINT', 'SIGINT');
    expect(exits).toEqual([130]);
  });

  it('stops listening when it is disposed', () => {
    const { source, signals, watched } = scene();
    signals.dispose();
    expect(source.eventNames()).toEqual([]);
    expect(watched.onGone).toBeUndefined();
  });
});
