import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run, temporaryFolder, writeConfig } from './program.js';
import { tinyLanguageIn, writeReward } from './tiny-language.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let env: Readonly<Record<string, string>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
  env = { PMPO_CACHE: join(folder.path, 'cache') };
  await writeReward(folder.path);
});
afterAll(() => folder.remove());

const at = (...names: string[]) => join(folder.path, ...names);
const tinyLanguage = (more?: Parameters<typeof tinyLanguageIn>[1]) => tinyLanguageIn(folder.path, more);

describe('pmpo data', () => {
  test('shows the first examples of a data set token by token, as pmpo train does at its start', async () => {
    const rows = ['a', 'b', 'c', 'd'].map((prompt) => {
      return `${JSON.stringify({ prompt: `Review ${prompt}:`, chosen: ' Nice soup', rejected: ' Awful' })}\n`;
    });
    await writeFile(at('pairs.jsonl'), rows.join(''));
    const { prompts: _, reward: __, ...language } = tinyLanguage().language;
    const dataset = { file: at('pairs.jsonl'), heldOut: 0.25 };
    const config = { ...tinyLanguage({ learner: { updates: 1 } }), language: { ...language, dataset } };
    const file = await writeConfig(folder.path, 'data.yaml', config);
    const { code, stdout } = await run(['data', file, '--count', '2'], { env });
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(8);
    expect(lines[0]).toBe('Example 1');
    expect(lines[1]).toMatch(/^ {2}prompt, \d+ tokens: │<bos>│Review│.*:│$/);
    expect(lines[2]).toMatch(/^ {2}learned with 1, \d+ tokens: │.*│<eos>│$/);
    expect(lines[3]).toMatch(/^ {2}learned with -1, \d+ tokens: │.*│<eos>│$/);
    const { stderr } = await run(['train', file, '--name', 'shown'], { env });
    expect(stderr).toContain(lines[1]);
    expect(stderr).toContain(lines[3]);
  });

  test('refuses data that training would refuse, after it has shown them', async () => {
    await writeFile(at('scores.jsonl'), '{"prompt": "a", "completion": " b", "score": 4}\n');
    const { prompts: _, reward: __, ...language } = tinyLanguage().language;
    const dataset = { file: at('scores.jsonl'), heldOut: 0 };
    const file = await writeConfig(folder.path, 'scores.yaml', {
      ...tinyLanguage(),
      feedback: { name: 'label' },
      language: { ...language, dataset },
    });
    const { code, stdout, stderr } = await run(['data', file], { env });
    expect(stdout).toMatch(/^Example 1\n {2}prompt/);
    expect(stderr).toMatch(/scores and no labels/);
    expect(code).not.toBe(0);
  });

  test('shows the prompts of a job that samples', async () => {
    const file = await writeConfig(folder.path, 'prompts.yaml', tinyLanguage());
    const { code, stdout } = await run(['data', file], { env });
    expect(code).toBe(0);
    expect(stdout.match(/^Example \d$/gm)).toHaveLength(3);
    expect(stdout).toMatch(/prompt, \d+ tokens: │<bos>│Review│ of│/);
  });

  test('refuses the configuration of a control job', async () => {
    const { code, stderr } = await run(['data', join(projectRoot, 'examples/cartpole.yaml')]);
    expect(stderr).toMatch(/it describes a control job, which makes its own data\. Give /);
    expect(code).toBe(2);
  });
});
