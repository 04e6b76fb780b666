import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run, runHere, start, temporaryFolder, writeConfig } from './program.js';
import { tinyLanguageIn, writeReward } from './tiny-language.js';

// Runs `pmpo train` with language jobs, and `pmpo winrate`, as a user does.

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
/** The environment variables of the program, with a separate cache folder for base models. */
let env: Readonly<Record<string, string>>;
const examples = join(projectRoot, 'examples/language');
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
  env = { PMPO_CACHE: join(folder.path, 'cache') };
  await writeReward(folder.path);
});
afterAll(() => folder.remove());

const at = (...names: string[]) => join(folder.path, ...names);

const tinyLanguage = (more?: Parameters<typeof tinyLanguageIn>[1]) => tinyLanguageIn(folder.path, more);

async function train(name: string, config: object, ...args: string[]) {
  const file = await writeConfig(folder.path, `${name}.yaml`, config);
  return runHere(['train', file, '--name', name, ...args], { env });
}

const weights = (name: string) => readFile(at('runs', name, 'model/model.safetensors'));

describe('a language job', () => {
  test('writes the files of every run, its model, and its completions before and after', async () => {
    // The judge is found from the folder of the configuration.
    await writeFile(at('shorter.mjs'), 'export const reward = ({ completion }) => -completion.length;\n');
    const config = { ...tinyLanguage(), evaluation: { every: 3, judge: 'shorter.mjs' } };
    const file = await writeConfig(folder.path, 'whole.yaml', config);
    const { code, stderr } = await run(['train', file, '--name', 'whole'], { env });
    expect(stderr).toMatch(/Evaluation at 0 completions: reward .* over 32 completions/);
    expect(stderr).toMatch(/Held out at 48 completions: winRate \S+ · judgeWinRate \S+\n/);
    expect(code).toBe(0);
    const metrics = (await readFile(at('runs/whole/metrics.jsonl'), 'utf8')).trim().split('\n');
    const judged = metrics
      .map((line) => JSON.parse(line).values ?? {})
      .filter((v) => 'evaluation/winRate' in v);
    expect(judged).toHaveLength(3);
    expect(judged[0]).toMatchObject({ 'evaluation/winRate': 0.5, 'evaluation/judgeWinRate': 0.5 });
    // The reward is for longer completions, and the judge for shorter ones.
    for (const values of judged)
      expect(values['evaluation/winRate'] + values['evaluation/judgeWinRate']).toBeCloseTo(1, 10);
    const left = await readdir(at('runs/whole'));
    for (const name of [
      'config.yaml',
      'metrics.jsonl',
      'summary.json',
      'report.html',
      'tensorboard',
      'checkpoints',
    ]) {
      expect(left).toContain(name);
    }
    expect((await readdir(at('runs/whole/model'))).sort()).toContain('model.safetensors');
    expect(await readdir(at('runs/whole/completions'))).toEqual([
      'update-00000000.jsonl',
      'update-00000003.jsonl',
      'update-00000006.jsonl',
    ]);
    const page = await readFile(at('runs/whole/completions.html'), 'utf8');
    expect(page).toContain('Review of the French restaurant:');
    expect(page).toContain('after 6 updates');
    const report = await readFile(at('runs/whole/report.html'), 'utf8');
    expect(report).toContain('Completions learned from');
    expect(JSON.parse(await readFile(at('runs/whole/summary.json'), 'utf8'))).toMatchObject({
      environment: 'embedded',
      updates: 6,
      steps: 6 * 2 * 4,
      stepUnit: 'completions',
    });
  });

  test('ends with bit-identical weights after a stop and resume', async () => {
    const file = await writeConfig(folder.path, 'stopped.yaml', tinyLanguage());
    const running = start(['train', file, '--name', 'stopped'], { env });
    await running.until(/Evaluation at 24 completions/);
    running.child.kill('SIGKILL');
    await running.ended;
    await rm(at('runs/stopped/completions/update-00000000.jsonl'));
    const resumed = await runHere(['train', '--resume', at('runs/stopped')], { env });
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toMatch(
      /Warning: Completions of earlier evaluations are missing .*update-00000000\.jsonl: there is no such file/,
    );
    expect((await weights('stopped')).equals(await weights('whole'))).toBe(true);
    expect((await stat(at('runs/stopped/report.html'))).isFile()).toBe(true);
  });

  test('has its judge again after a stop and resume, and closes it at the end', async () => {
    const ticks = at('ticks');
    await writeFile(
      at('ticking.mjs'),
      `import { appendFileSync } from 'node:fs';
      // It goes on as long as the judge's thread.
      setInterval(() => appendFileSync(${JSON.stringify(ticks)}, '.'), 10);
      export const reward = ({ completion }) => -completion.length;\n`,
    );
    const config = { ...tinyLanguage(), evaluation: { every: 3, judge: 'ticking.mjs' } };
    const file = await writeConfig(folder.path, 'judged.yaml', config);
    const running = start(['train', file, '--name', 'judged'], { env });
    await running.until(/Evaluation at 24 completions/);
    running.child.kill('SIGKILL');
    await running.ended;
    const before = (await stat(ticks)).size;
    expect((await runHere(['train', '--resume', at('runs/judged')], { env })).code).toBe(0);
    const after = (await stat(ticks)).size;
    expect(after).toBeGreaterThan(before);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await stat(ticks)).size).toBe(after);
    const judged = async (name: string) => {
      const lines = (await readFile(at('runs', name, 'metrics.jsonl'), 'utf8')).trim().split('\n');
      return lines.flatMap((line) => {
        const { updates, values } = JSON.parse(line);
        const reward = values?.['evaluation/judgeReward'];
        return reward === undefined ? [] : [[updates, reward, values['evaluation/judgeWinRate']]];
      });
    };
    const all = await judged('whole');
    expect(all.map(([updates]) => updates)).toEqual([0, 3, 6]);
    expect(await judged('judged')).toEqual(all);
  });

  test('whose reward computes for ever ends at Ctrl-C, and resumed ends with the same weights', async () => {
    await writeFile(
      at('for-ever.mjs'),
      `let calls = 0;
      export const reward = ({ completion }) => {
        calls += 1;
        if (calls > 40 && process.env.FOR_EVER) for (;;);
        return completion.length / 100;
      };\n`,
    );
    const language = { reward: { name: 'program', file: at('for-ever.mjs') } };
    const file = await writeConfig(folder.path, 'for-ever.yaml', tinyLanguage({ language }));
    const stuck = start(['train', file, '--name', 'for-ever', '--json'], { env: { ...env, FOR_EVER: '1' } });
    await stuck.until(
      /"event":"waiting","message":"waiting for language\.reward: \S*for-ever\.mjs for \d+ s \(at most 300 s\)/,
      'stdout',
    );
    const stopped = performance.now();
    stuck.child.kill('SIGINT');
    expect((await stuck.ended).stderr).toContain('Resume with: npx pmpo train');
    expect(performance.now() - stopped).toBeLessThan(30_000);
    expect((await runHere(['train', '--resume', at('runs/for-ever')], { env })).code).toBe(0);
    expect((await weights('for-ever')).equals(await weights('whole'))).toBe(true);
  });

  test.each([['dpo'], ['mpo'], ['kto']])('uses %s with --operator', async (operator) => {
    const { code, stderr } = await train(
      operator,
      tinyLanguage(),
      '--operator',
      operator,
      '--set',
      'learner.samples=4',
    );
    expect(stderr).toMatch(/6 updates/);
    expect(code).toBe(0);
  });

  test('says what a data set was read as, and what was left out', async () => {
    const rows = ['Hello', ''].map(
      (output) => `${JSON.stringify({ instruction: 'Hi', output, rejected_response: 'No', id: 1 })}\n`,
    );
    await writeFile(at('alpaca.jsonl'), rows.join(''));
    const { prompts: _, reward: __, ...language } = tinyLanguage().language;
    const config = {
      ...tinyLanguage(),
      language: { ...language, dataset: { file: at('alpaca.jsonl'), heldOut: 0 } },
      operator: { name: 'dpo' },
      learner: { updates: 1, batchSize: 1 },
    };
    const { code, stderr } = await train('alpaca', config);
    expect(stderr).toMatch(
      /alpaca\.jsonl: read as instructions with an output \(Alpaca\).*: 2 rows, 1 context, 1 accepted and 1 rejected completion; 1 left out: 1 because 'output' is empty \(first at .*alpaca\.jsonl:2\); columns that are not read: id/,
    );
    expect(code).toBe(0);
  });

  test('learns from labels without sampling, and records metrics of held-out data', async () => {
    const { prompts: _, reward: __, ...language } = tinyLanguage().language;
    const config = {
      ...tinyLanguage(),
      language: { ...language, dataset: { file: join(examples, 'labels.jsonl') } },
      operator: { name: 'pmpo', alpha: 0, beta: 2 },
      feedback: { name: 'label' },
      reference: 'initial',
      evaluation: { every: 3, text: join(examples, 'reviews.jsonl') },
    };
    const { code } = await train('labels', config);
    expect(code).toBe(0);
    const lines = (await readFile(at('runs/labels/metrics.jsonl'), 'utf8')).trim().split('\n');
    const held = lines.map((line) => JSON.parse(line).values ?? {}).filter((v) => 'heldOut/perplexity' in v);
    expect(held.length).toBeGreaterThanOrEqual(3);
    expect(Object.keys(held[0])).toContain('heldOut/logProb/rejected');
  });
});

describe('pmpo train reports in one line', () => {
  test.each([
    [
      'prompts that do not fit the context',
      { sampling: { maxTokens: 60 } },
      /prompts\.jsonl:1: the prompt has \d+ tokens, but only 4 fit into a context of 64 with a completion of 60/,
      1,
    ],
    [
      'a reward that is not a function',
      { reward: { name: 'program', file: join(examples, 'prompts.jsonl') } },
      /language\.reward: .*prompts\.jsonl: it does not (load|export a function)/,
      2,
    ],
    ['a missing file', { prompts: { file: 'none.jsonl' } }, /none\.jsonl: there is no such file/, 1],
    [
      'prompts without a reward',
      { reward: undefined },
      /has prompts, but no reward that evaluates completions/,
      2,
    ],
    ['both prompts and a data set', { dataset: { file: 'x.jsonl' } }, /has both prompts and a dataset/, 2],
  ])('%s', async (_, language, message, exitCode) => {
    const { code, stderr } = await train('refused', tinyLanguage({ language }));
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(exitCode);
  });

  test('a reward that returns NaN', async () => {
    await writeFile(at('nan.mjs'), 'export const reward = () => NaN;\n');
    const language = { reward: { name: 'program', file: at('nan.mjs') } };
    const { code, stderr } = await train('nan', tinyLanguage({ language }));
    expect(stderr).toMatch(
      /^pmpo: language\.reward: .*nan\.mjs: reward returned NaN for .*It must return a finite number/m,
    );
    expect(code).toBe(1);
  });

  test.each([
    [
      { name: 'pmpo', alpha: 0, beta: 2 },
      /good\.jsonl: the operator 'pmpo' learns from rejected completions, but there are none/,
    ],
    [
      { name: 'grpo' },
      /good\.jsonl: the operator 'grpo' compares the completions of a prompt, and every prompt has one/,
    ],
  ])('an operator that needs completions which the data set lacks: %o', async (operator, message) => {
    const row = (prompt: string) => `{"prompt": "${prompt}", "completion": "b", "label": true}\n`;
    await writeFile(at('good.jsonl'), ['a', 'b', 'c'].map(row).join(''));
    const { prompts: _, reward: __, ...language } = tinyLanguage().language;
    const config = {
      ...tinyLanguage(),
      language: { ...language, dataset: { file: at('good.jsonl'), heldOut: 0 } },
      operator,
      feedback: { name: 'label' },
    };
    const { code, stderr } = await train('one-sided', config);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });

  const labelled = (...labels: unknown[]) =>
    labels
      .map((label, i) => `${JSON.stringify({ prompt: `p${i % 2}`, completion: `c${i}`, label })}\n`)
      .join('');

  test.each([
    ['labels from 0 to 4', labelled(4, 1, 3, 0), {}, /data\.jsonl:1: the label 4 is not between −1 and 1/],
    [
      'labels of 0 and 1',
      labelled(0, 1, 1),
      {},
      /data\.jsonl:1: the labels are 0, 1.*language\.dataset\.labels/,
    ],
    [
      'scores that nothing compares',
      labelled(1, 1).replaceAll('label', 'score'),
      { operator: { name: 'behavior-cloning' } },
      /data\.jsonl: the completions have scores and no labels.*threshold.*top-k/,
    ],
    [
      'rejected completions that MPO would imitate',
      labelled(false, false, false, false),
      { operator: { name: 'mpo' } },
      /data\.jsonl: every prompt has rejected completions only, and the operator 'mpo' raises the likelihood/,
    ],
    [
      'DPO with one completion',
      labelled(true, false, true, false),
      { operator: { name: 'dpo' }, learner: { samples: 1 } },
      /'dpo' compares an accepted with a rejected sample of the same context, and there is 1/,
    ],
    ['an unknown shape', '{"text": "a"}\n', {}, /data\.jsonl: its columns are text, and no known shape/],
  ])('%s', async (_, text, settings, message) => {
    await writeFile(at('data.jsonl'), text);
    const { prompts: __, reward: ___, ...language } = tinyLanguage().language;
    const dataset = { file: at('data.jsonl'), heldOut: 0 };
    const config = {
      ...tinyLanguage(),
      language: { ...language, dataset },
      reference: 'initial',
      ...settings,
    };
    const { code, stderr } = await train('refused-data', config);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).not.toBe(0);
  });

  test('a judge that does not exist', async () => {
    const evaluation = { every: 3, judge: 'nobody.mjs' };
    const { code, stderr } = await train('unjudged', { ...tinyLanguage(), evaluation });
    expect(stderr).toMatch(/^pmpo: evaluation\.judge \S*nobody\.mjs: /m);
    expect(stderr).not.toMatch(/\n {4}at /);
    expect(code).not.toBe(0);
  });

  test('a language job given to pmpo compare', async () => {
    const file = await writeConfig(folder.path, 'kind.yaml', tinyLanguage());
    const { code, stderr } = await runHere(['compare', file, '--operators', 'pmpo,dpo']);
    expect(stderr).toMatch(/this is the configuration of a language job/);
    expect(code).toBe(2);
  });
});

test('pmpo winrate compares the completions of a run after and before training', async () => {
  const [after, before] = ['update-00000006.jsonl', 'update-00000000.jsonl'].map((name) =>
    at('runs/whole/completions', name),
  );
  const args = [
    '--prompts',
    join(examples, 'held-out.jsonl'),
    '--judge',
    at('reward.mjs'),
    '--output',
    at('v.jsonl'),
  ];
  const { code, stdout } = await run(['winrate', after!, before!, ...args]);
  expect(stdout).toMatch(/^A wins \d+\.\d % \(95 %: \d+\.\d % to \d+\.\d %\): \d+ won, \d+ lost, \d+ tied\n/);
  expect(code).toBe(0);
  const model = await runHere(
    [
      'winrate',
      at('runs/whole/model'),
      before!,
      ...args.slice(0, 4),
      '--json',
      '--output',
      at('w.jsonl'),
      '--max-tokens',
      '8',
    ],
    { env },
  );
  expect(JSON.parse(model.stdout)).toMatchObject({ prompts: 32, unanswered: 0 });
});

test('pmpo winrate ends with an error, and no NaN, where the judge gives no verdict', async () => {
  const server = createServer((_, response) =>
    response.end(JSON.stringify({ choices: [{ message: { content: 'B is worse than A.' } }] })),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    await writeFile(at('question.txt'), '{{first}} or {{second}}?');
    await writeFile(
      at('judge.yaml'),
      `{name: language-model, url: "http://127.0.0.1:${port}/v1", model: m, template: question.txt}`,
    );
    await writeFile(at('p.jsonl'), '{"prompt": "x"}');
    await writeFile(at('one.jsonl'), '{"prompt": "x", "completion": "y"}');
    const args = ['--prompts', at('p.jsonl'), '--judge', at('judge.yaml'), '--output', at('prose.jsonl')];
    const { code, stdout, stderr } = await runHere(['winrate', at('one.jsonl'), at('one.jsonl'), ...args]);
    expect(stderr).toMatch(/--judge: the answer 'B is worse than A\.' has no verdict: A, B or TIE/);
    expect(stderr).toMatch(
      /the judge gave no verdict on any of the 1 prompts; its answers are in .*prose\.jsonl/,
    );
    expect(`${stdout}${stderr}`).not.toContain('NaN');
    expect(code).toBe(1);
    const json = await runHere(['winrate', at('one.jsonl'), at('one.jsonl'), ...args, '--json']);
    expect(json.stdout).toBe('');
    expect(json.stderr).toMatch(/the judge gave no verdict on any of the 1 prompts/);
    expect(json.code).toBe(1);
  } finally {
    server.close();
  }
});
