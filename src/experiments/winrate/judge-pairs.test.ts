import { describe, expect, it } from 'vitest';
import { askAll } from './judge-pairs.js';

const stopped = { where: 'here', what: 'stopped', remedy: 'Start again' };
const questions = Array.from({ length: 40 }, (_, i) => i);

describe('askAll', () => {
  it('asks no more after a failure, waits for the questions under way, and throws the first error', async () => {
    let [begun, ended] = [0, 0];
    const ask = async (question: number) => {
      begun += 1;
      await new Promise((resolve) => setTimeout(resolve, question === 3 ? 1 : 20));
      ended += 1;
      if (question === 3 || question === 5) throw new Error(`no answer to ${question}`);
    };
    await expect(askAll(questions, ask, { stopped })).rejects.toThrow('no answer to 3');
    expect(begun).toBe(16);
    expect(ended).toBe(begun);
  });

  it('says what the caller says when it is stopped', async () => {
    const stop = new AbortController();
    let begun = 0;
    const ask = async () => {
      begun += 1;
      if (begun === 20) stop.abort();
    };
    const asking = askAll(questions, ask, { stopped, signal: stop.signal });
    await expect(asking).rejects.toThrow('here: stopped. Start again');
    expect(begun).toBeLessThan(40);
  });
});
