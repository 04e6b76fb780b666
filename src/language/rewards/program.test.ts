import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PublicModules } from '../../system/user-module.js';
import { programDefinition } from './program.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-program-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function evaluate(name: string, source: string, modules: PublicModules = {}, signal?: AbortSignal) {
  const file = join(folder, name);
  await writeFile(file, source);
  const reward = await programDefinition(modules).open(
    { file },
    { where: 'language.reward', notice: () => {} },
  );
  return reward.evaluate(
    [{ prompt: 'p', conversation: 'user: p', completion: 'abc', finishReason: 'stop', row: { bonus: 2 } }],
    signal,
  );
}

describe('a reward program', () => {
  it('gets the completion, how it ended, and the row of its prompt', async () => {
    const source = `
      interface RewardInput { prompt: string; conversation: string; completion: string; finishReason: string; row: { bonus: number } }
      export const reward = async ({ prompt, conversation, completion, finishReason, row }: RewardInput) =>
        completion.length + (finishReason === 'stop' ? 10 : 0) + 100 * row.bonus + (conversation === 'user: ' + prompt ? 1000 : 0);
    `;
    expect(await evaluate('good.ts', source)).toEqual([1213]);
  });

  it('gets the signal that stops the run', async () => {
    const source = `
      export const reward = (_: object, signal: AbortSignal): Promise<number> =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    `;
    const controller = new AbortController();
    const evaluating = evaluate('signal.ts', source, {}, controller.signal);
    setTimeout(() => controller.abort(new Error('stopped')), 100);
    await expect(evaluating).rejects.toThrow('reward threw: stopped');
  });

  it('may import the modules of this package that it is given', async () => {
    const source = `
      import { base } from 'pmpo';
      import { double } from 'pmpo/operators';
      export const reward = () => double(base);
    `;
    const modules = {
      pmpo: async () => ({ base: 21 }),
      'pmpo/operators': async () => ({ double: (x: number) => 2 * x }),
    };
    expect(await evaluate('imports.ts', source, modules)).toEqual([42]);
  });

  it('that throws is an error that names the line in the file', async () => {
    const source = `
const lengthOf = (x?: string): number => {
  return x!.length;
};
export const reward = () => lengthOf(undefined);
`;
    await expect(evaluate('throws.ts', source)).rejects.toThrow(
      /^language\.reward: .*throws\.ts:3:\d+: reward threw: Cannot read properties of undefined/,
    );
  });

  it.each([
    [
      'text.mjs',
      'export const reward = () => "good";',
      /reward returned good for "abc"\. It must return a finite number/,
    ],
    ['nan.mjs', 'export const reward = () => NaN;', /reward returned NaN/],
    ['none.mjs', 'export const other = 1;', /none\.mjs: it does not export a function `reward`/],
    ['broken.ts', 'export const reward = (;', /broken\.ts: it does not load: \S.*\S$/],
  ])('%s is an error', async (name, source, message) => {
    await expect(evaluate(name, source)).rejects.toThrow(message);
  });
});
