import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Reward, RewardInput } from '../language/rewards/reward.js';
import { createCatalogue } from './catalogue.js';
import { loadPlugins } from './plugins.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-plugin-reward-'));
});
afterAll(() => rm(folder, { recursive: true }));

const opened: Reward[] = [];
afterEach(async () => {
  for (const reward of opened.splice(0)) await reward.close();
});

/** A plugin's reward `mine`, opened with `limit: 2`, whose `evaluate` has this body. */
async function open(name: string, body: string) {
  const file = join(folder, `${name}.ts`);
  await writeFile(
    file,
    `
import { isMainThread } from 'node:worker_threads';
export function register(registry: any) {
  registry.rewards.register({
    name: 'mine',
    settings: registry.z.strictObject({ limit: registry.z.number() }),
    open: async ({ limit }: any, { notice, signal }: any) => ({
      deadlineSeconds: 1,
      close: async () => {},
      async evaluate(completions: any[]): Promise<any> {
        ${body}
      },
    }),
  });
}
`,
  );
  const catalogue = createCatalogue({});
  await loadPlugins([file], catalogue, folder);
  const notices: string[] = [];
  const definition = catalogue.rewards.get('mine');
  const context = { where: 'language.reward', notice: (message: string) => notices.push(message) };
  const reward = await definition.open({ limit: 2 }, context);
  opened.push(reward);
  return { reward, notices };
}

const completion = (text: string): RewardInput => ({
  prompt: 'p',
  conversation: 'p',
  completion: text,
  finishReason: 'stop',
  row: {},
});
const two = [completion('abc'), completion('a')];

describe("a plugin's reward", () => {
  it('runs in a thread of its own, with its settings and notices', async () => {
    const { reward, notices } = await open(
      'thread',
      "notice('in the main thread: ' + isMainThread); return completions.map((c) => (c.completion.length > limit ? 1 : undefined));",
    );
    expect(await reward.evaluate(two)).toEqual([1, undefined]);
    expect(notices).toEqual(['in the main thread: false']);
  });

  it('that throws is an error with its file and line', async () => {
    const { reward } = await open('throws', "throw new TypeError('no such column');");
    await expect(reward.evaluate(two)).rejects.toThrow(
      /^language\.reward: reward 'mine': no such column \(.*throws\.ts:11:\d+\)$/,
    );
  });

  it('is told by the signal with which it was opened that its time is over', async () => {
    const { reward, notices } = await open(
      'told',
      "return new Promise(() => signal.addEventListener('abort', () => notice('told: ' + signal.reason.message)));",
    );
    await expect(reward.evaluate(two)).rejects.toThrow('it has not answered within 1 s');
    await vi.waitFor(() => expect(notices).toEqual([expect.stringMatching(/^told: .*within 1 s/)]));
  });

  it('that computes for ever ends at its deadline', async () => {
    const { reward } = await open('busy', 'for (;;);');
    await expect(reward.evaluate(two)).rejects.toThrow(
      "language.reward: reward 'mine': it has not answered within 1 s",
    );
  });
});
