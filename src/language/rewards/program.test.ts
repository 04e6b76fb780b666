import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { StoppedError } from '../../core/errors.js';
import { publicModules } from '../../public-modules.js';
import { programDefinition } from './program.js';
import type { Reward, RewardContext, RewardInput } from './reward.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-program-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const input: RewardInput = {
  prompt: 'p',
  conversation: 'user: p',
  completion: 'abc',
  finishReason: 'stop',
  row: { bonus: 2 },
};

const opened: Reward[] = [];
afterEach(async () => {
  for (const reward of opened.splice(0)) await reward.close();
});

/** The reward of this file, in its thread. */
async function open(
  name: string,
  source: string,
  context: Partial<RewardContext> = {},
  deadlineSeconds = 20,
) {
  const file = join(folder, name);
  await writeFile(file, source);
  const where = 'language.reward';
  const reward = await programDefinition(publicModules).open(
    { file, deadlineSeconds },
    { where, notice: () => {}, ...context },
  );
  opened.push(reward);
  return reward;
}

async function evaluate(name: string, source: string) {
  return (await open(name, source)).evaluate([input]);
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

  it('is told by its signal that the run is stopped, and the run does not wait for it', async () => {
    const told = join(folder, 'told');
    const source = `
      import { writeFileSync } from 'node:fs';
      export const reward = (_: object, signal: AbortSignal): Promise<number> =>
        new Promise(() => signal.addEventListener('abort', () => writeFileSync(${JSON.stringify(told)}, String(signal.reason))));
    `;
    const reward = await open('signal.ts', source);
    const controller = new AbortController();
    const evaluating = reward.evaluate([input], controller.signal);
    setTimeout(() => controller.abort(), 100);
    await expect(evaluating).rejects.toThrow(StoppedError);
    await vi.waitFor(() => expect(readFileSync(told, 'utf8')).toContain('the run was stopped'));
  });

  it('that computes for ever ends at its deadline, and is told of while it is waited for', async () => {
    const waits: (string | undefined)[] = [];
    const source = 'export const reward = () => { for (;;); };';
    const reward = await open('busy.mjs', source, { waiting: (what) => waits.push(what) }, 1.5);
    await expect(reward.evaluate([input])).rejects.toThrow(
      /^language\.reward: .*busy\.mjs: it has not answered within 1\.5 s\. Make it faster, or raise its deadlineSeconds$/,
    );
    expect(waits.filter((what) => what?.includes('1.5'))).toEqual([
      expect.stringMatching(/^waiting for language\.reward: .*busy\.mjs for 1 s \(at most 1\.5 s\)$/),
    ]);
    expect(waits.at(-1)).toBeUndefined();
    const closing = performance.now();
    await reward.close();
    expect(performance.now() - closing).toBeLessThan(3000);
  });

  it('that ends its thread is an error of one line', async () => {
    const source = 'export const reward = () => process.exit(3);';
    await expect(evaluate('exits.mjs', source)).rejects.toThrow(/exits\.mjs: its thread ended with code 3$/);
  });

  it('may import the modules of this package', async () => {
    const source = `
      import { PmpoError } from 'pmpo';
      import { pmpo } from 'pmpo/operators';
      export const reward = () => (new PmpoError({ what: 'x' }).message === 'x' && pmpo().name === 'pmpo' ? 42 : 0);
    `;
    expect(await evaluate('imports.ts', source)).toEqual([42]);
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
