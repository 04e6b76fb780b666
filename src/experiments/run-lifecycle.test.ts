import { describe, expect, it } from 'vitest';
import { closedAtEnd } from './run-lifecycle.js';

/** Runs the functions that were registered, as the end of a run does. */
async function end(registered: readonly (() => Promise<void>)[]): Promise<void> {
  for (const close of [...registered].reverse()) await close();
}

describe('closedAtEnd', () => {
  it('closes what was opened, even if nobody waited for it', async () => {
    const registered: (() => Promise<void>)[] = [];
    const closed: string[] = [];
    const context = { onEnd: (close: () => Promise<void>) => void registered.push(close) };
    const close = (name: string) => void closed.push(name);
    const engine = closedAtEnd(Promise.resolve('engine'), close, context);
    const late = new Promise<string>((resolve) => setTimeout(() => resolve('simulators'), 20));
    void closedAtEnd(late, close, context);
    expect(await engine).toBe('engine');
    await end(registered);
    expect(closed).toEqual(['simulators', 'engine']);
  });

  it('leaves a failure to the one who waits, and closes nothing for it', async () => {
    const registered: (() => Promise<void>)[] = [];
    const closed: string[] = [];
    const context = { onEnd: (close: () => Promise<void>) => void registered.push(close) };
    const close = (name: string) => void closed.push(name);
    const failed = closedAtEnd<string>(Promise.reject(new Error('no engine')), close, context);
    void closedAtEnd(Promise.resolve('recorder'), close, context);
    // Of two failures at once only one is waited for; the other must not end the process.
    void closedAtEnd<string>(Promise.reject(new Error('no simulators')), close, context);
    await expect(failed).rejects.toThrow('no engine');
    await end(registered);
    expect(closed).toEqual(['recorder']);
  });
});
