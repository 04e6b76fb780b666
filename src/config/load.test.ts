import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { createOperatorRegistry } from '../operators/registry.js';
import { configText, loadConfig, loadJob, resolveConfig, resolveJob, resolveLanguageConfig } from './load.js';
import { parseOverride } from './source.js';

const minimal = 'environment: {simulator: cartpole_swingup}\n';
const resolve = (text: string, ...sets: string[]) => resolveConfig('run.yaml', text, sets.map(parseOverride));

async function refusal(text: string, ...sets: string[]): Promise<string> {
  const error: unknown = await resolve(text, ...sets).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return (error as ConfigError).message;
}

describe('resolveConfig', () => {
  test('fills in every default, including the number of samples of the operator', async () => {
    const pmpo = await resolve(minimal);
    expect(pmpo.config).toMatchObject({
      operator: { name: 'pmpo', alpha: 0.5 },
      feedback: { name: 'value-baseline' },
      learner: { samples: 4, allActionsUpTo: 32 },
    });
    const ranked = await resolve(minimal, 'feedback.name=top-k');
    expect(ranked.config.feedback).toEqual({ name: 'top-k', accept: 2, reject: 2 });
    const mpo = await resolve(minimal, 'operator.name=mpo');
    expect(mpo.config.learner.samples).toBe(20);
    expect(mpo.operator.needs.evaluation).toBe(true);
    expect((await resolve(minimal, 'operator.name=mpo', 'learner.samples=8')).config.learner.samples).toBe(8);
  });

  test('says what a configuration without a subject needs, unless its key is misspelt', async () => {
    const needs =
      'environment: is missing: a configuration needs a simulator, a data set or a language model. `npx pmpo init` writes one';
    expect(await refusal('{}')).toBe(`run.yaml: ${needs}`);
    const misspelt = await refusal('enviroment: {simulator: reacher}');
    expect(misspelt).toContain("Did you mean 'environment'?");
    expect(misspelt).not.toContain('is missing');
  });

  test('takes samples in place of all actions if the configuration sets or ranks them', async () => {
    const limit = async (...overrides: string[]) =>
      (await resolve(minimal, ...overrides)).config.learner.allActionsUpTo;
    expect(await limit('learner.samples=8')).toBe(0);
    expect(await limit('feedback.name=top-k')).toBe(0);
    expect(await limit('feedback.name=median')).toBe(0);
    expect(await limit('feedback={name: threshold, value: 1}')).toBe(32);
    expect(await limit('feedback.name=top-k', 'learner.allActionsUpTo=6')).toBe(6);
  });

  test('reads a group without a name as the default operator', async () => {
    const { config } = await resolve(minimal, 'operator.alpha=1');
    expect(config.operator).toMatchObject({ name: 'pmpo', alpha: 1 });
  });

  test('drops the settings of the operator in the file if another one is chosen', async () => {
    const text = `${minimal}operator: {name: pmpo, alpha: 0.25}\n`;
    const { config } = await resolve(text, 'operator.name=dpo');
    expect(config.operator).toEqual((await resolve(`${minimal}operator: {name: dpo}`)).config.operator);
  });

  const forActions = createOperatorRegistry()
    .definitions()
    .filter((definition) => definition.create().needs.length !== true)
    .map(({ name }) => name);
  test.each(forActions)('gives a configuration of %s that loads again unchanged', async (name) => {
    const { config } = await resolve(
      minimal,
      `operator.name=${name}`,
      'reference={rate: 0.01}',
      'policy.head=categorical',
    );
    const again = await resolveConfig('/elsewhere/config.yaml', configText(config));
    expect(again.config).toEqual(config);
    expect(configText(again.config)).toBe(configText(config));
  });

  test('lists every problem with its line', async () => {
    expect(await refusal(`${minimal}sed: 1\nlearner:\n  batchSize: 0\n`)).toBe(
      "run.yaml: sed (line 2): unknown key. Did you mean 'seed'?\n" +
        'run.yaml: learner.batchSize (line 4): must be at least 1, not 0',
    );
  });

  test('checks the settings of an embedded simulator, and leaves those of a remote one to its server', async () => {
    const text = 'environment: {simulator: cartpole_swingup, createSettings: {episodeStep: 10}}';
    expect(await refusal(text)).toBe(
      "run.yaml: environment.createSettings.episodeStep (line 1): unknown key. Did you mean 'episodeSteps'?",
    );
    const remote = await resolve(text, 'environment.address=127.0.0.1:1');
    expect(remote.config.environment.createSettings).toEqual({ episodeStep: 10 });
  });

  test('resolves paths in a file from its folder, and paths on the command line from the working directory', async () => {
    const text = `environment: {address: "a:1", tls: {ca: ca.pem}, token: {file: secret/token}}
replay: {redis: "rediss://r:1", redisTls: {ca: redis.pem, key: ../own.key}, redisPassword: {file: secret/password}}
`;
    const sets = [
      parseOverride('environment.tls.serverName=b'),
      parseOverride('environment.token.file=token'),
    ];
    const { config } = await resolveConfig('/configs/run.yaml', text, sets);
    expect(config.environment.tls).toEqual({ ca: '/configs/ca.pem', serverName: 'b' });
    expect(config.environment.token).toEqual({ file: join(process.cwd(), 'token') });
    expect(config.replay.redisTls).toEqual({ ca: '/configs/redis.pem', key: '/own.key' });
    expect(config.replay.redisPassword).toEqual({ file: '/configs/secret/password' });
    const again = await resolveConfig('/elsewhere/config.yaml', configText(config));
    expect(again.config).toEqual(config);
  });

  test('refuses feedback that the operator cannot use, with the reason', async () => {
    const text = `${minimal}operator: {name: dpo}\nfeedback: {name: top-k, reject: 0}\n`;
    expect(await refusal(text)).toMatch(
      /^run\.yaml: operator \(line 2\): 'dpo' compares .* accepted samples only/,
    );
  });

  test('refuses feedback that does not fit the samples', async () => {
    expect((await resolve(minimal, 'feedback.name=top-k', 'learner.samples=3')).config.feedback).toEqual({
      name: 'top-k',
      accept: 1,
      reject: 1,
    });
    const text = `${minimal}feedback: {accept: 2, reject: 2}\n`;
    expect(await refusal(text, 'learner.samples=3')).toMatch(
      /^run\.yaml: feedback .line 2.: top-k accepts 2 and rejects 2 of 3/,
    );
  });

  test('does not repeat a secret that is typed in the wrong place', async () => {
    const text = `environment: {simulator: cartpole_swingup, token: hunter2}\n`;
    expect(await refusal(text)).toMatch(
      /^run\.yaml: environment\.token \(line 1\): must be .*, not what is given$/,
    );
    for (const [more, set] of [
      ['replay: {redis: "redis://me:hunter2@far:1"}'],
      ['password: hunter2'],
      ['environment: {token: hunter2}', 'environment.token.file=x'],
      ['replay: "redis://me:hunter2@far:1"'],
    ])
      expect(await refusal(`${more}\n`, ...(set === undefined ? [] : [set]))).not.toContain('hunter2');
  });

  test('lists the first of many unknown keys, and counts the others', async () => {
    const keys = Array.from({ length: 50_000 }, (_, i) => `k${i}: 1`).join('\n');
    const lines = (await refusal(`${minimal}${keys}\n`)).split('\n');
    expect(lines).toHaveLength(11);
    expect(lines.join()).toContain('has 49990 more unknown keys');
  });

  test("refuses to send Redis's password to another machine without TLS", async () => {
    const settings = (url: string) =>
      `${minimal}replay: {redis: "${url}", redisPassword: {environmentVariable: P}}\n`;
    expect(await refusal(settings('redis://far.example:6379'))).toBe(
      'run.yaml: replay.redisPassword (line 2): would be sent over the network unencrypted. Write rediss:// in replay.redis for TLS',
    );
    for (const url of [
      'rediss://far.example:6379',
      'redis://localhost',
      'redis://127.0.0.1:6379/2',
      'redis://[::1]:1',
    ])
      expect((await resolve(settings(url))).config.replay.redis).toBe(url);
  });

  test('refuses a weight for the KL of sequences, which control jobs do not have', async () => {
    expect(await refusal(minimal, 'operator={name: pmpo, kl: {sequence: 2}}')).toMatch(
      /operator\.kl\.sequence: exists in language jobs only/,
    );
  });

  test('warns about legal but risky settings', async () => {
    const { warnings } = await resolve(minimal, 'operator.alpha=0', 'operator.beta=0.5');
    expect(warnings.length).toBeGreaterThan(0);
    expect((await resolve(minimal, 'operator.alpha=1')).warnings).toEqual([]);
  });
});

describe('loadConfig', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-config-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('finds plugins in the folder of the file, validates their settings, and resolves their paths', async () => {
    await writeFile(
      join(folder, 'mine.ts'),
      `export function register({ feedback, z, tf }: any): void {
        feedback.register({
          name: 'positive',
          description: 'accepts what is above a margin',
          settings: z.strictObject({ margin: z.number().min(0).default(1) }),
          create: ({ margin }: { margin: number }) => ({
            provides: { accepts: true, rejects: true },
            classify: ({ evaluation }: any) => {
              const accept = tf.cast(tf.greater(evaluation, margin), 'float32');
              return { accept, reject: tf.sub(1, accept) };
            },
          }),
        });
      }\n`,
    );
    const file = join(folder, 'run.yaml');
    await writeFile(file, `${minimal}plugins: [./mine.ts]\nfeedback: {name: positive}\n`);
    const { config } = await loadConfig(file);
    expect(config.feedback).toEqual({ name: 'positive', margin: 1 });
    expect(config.plugins).toEqual([join(folder, 'mine.ts')]);
    expect((await resolveConfig('/elsewhere/config.yaml', configText(config))).config).toEqual(config);
    await expect(loadConfig(file, [parseOverride('feedback.margin=-1')])).rejects.toThrow(
      '--set feedback.margin: must be at least 0, not -1',
    );
  });

  test('names a file or a plugin that does not exist', async () => {
    await expect(loadConfig(join(folder, 'none.yaml'))).rejects.toThrow(/none\.yaml: there is no such file/);
    const file = join(folder, 'plugin.yaml');
    await writeFile(file, `${minimal}plugins: [./none.ts]\n`);
    await expect(loadConfig(file)).rejects.toThrow(/plugin \.\/none\.ts: there is no file/);
  });
});

const sampled = `
language:
  model: { name: embedded }
  prompts: { file: prompts.jsonl }
  reward: { name: program, file: reward.ts }
  sampling: { maxTokens: 16 }
`;
const labeled = `
language:
  model: { name: embedded }
  dataset: { file: labels.jsonl }
`;
const resolveLanguage = (text: string, ...sets: string[]) =>
  resolveLanguageConfig('/here/job.yaml', text, sets.map(parseOverride));

describe('resolveLanguageConfig', () => {
  test('fills in every default, and resolves paths from the folder of the file', async () => {
    const { config } = await resolveLanguage(sampled);
    expect(config.language.prompts).toMatchObject({ file: '/here/prompts.jsonl', heldOut: 64 });
    expect(config.language.reward).toEqual({
      name: 'program',
      file: '/here/reward.ts',
      deadlineSeconds: 300,
    });
    expect(config).toMatchObject({
      operator: { name: 'pmpo', alpha: 0.5 },
      feedback: { name: 'top-k', accept: 2, reject: 2 },
      reference: { period: 10 },
      learner: { samples: 4 },
    });
  });

  test('uses the labels of a dataset as feedback, unless the configuration names another feedback', async () => {
    const { config } = await resolveLanguage(labeled);
    expect(config.feedback).toEqual({ name: 'label' });
    expect(config.learner.samples).toBe(16);
    const scored = await resolveLanguage(`${labeled}feedback: { name: threshold, value: 0.5 }\n`);
    expect(scored.config.feedback).toEqual({ name: 'threshold', value: 0.5 });
  });

  test.each([
    [sampled, 'language.reward=', /must be/],
    [sampled.replace(/ *reward:.*\n/, ''), 'seed=1', /language.*has prompts, but no reward/],
    [sampled, 'language.dataset={file: x.jsonl}', /has both prompts and a dataset/],
    [labeled, 'language.reward={name: program, file: r.ts}', /language\.reward.*has no effect/],
    [labeled, 'evaluation.judge=judge.ts', /evaluation\.judge.*has no effect/],
    [labeled, 'language.kl=sampled', /'sampled' estimates the KL from completions of the reference policy/],
    [sampled, 'feedback={name: label}', /'label' reads the labels of a dataset/],
    [sampled, 'language.model.heads=3', /width.*is not a multiple of heads/],
    [sampled, 'language.model.keyValueHeads=3', /keyValueHeads.*does not divide heads/],
    [sampled, 'language.sampling.maxTokens=64', /leaves no room for a prompt/],
    [sampled, 'learner.samples=1', /learner\.samples: 1 is too few for 'top-k', which compares/],
    [sampled, 'operator={name: pmpo, kl: {mean: 2}}', /operator\.kl\.mean.*exists in control jobs only/],
    [
      sampled,
      ['language.kl=sampled', 'operator={name: mpo}'],
      /operator.*'mpo' needs the exact KL.*Set language\.kl to exact/,
    ],
    [sampled, 'language.modl={name: embedded}', /unknown key\. Did you mean 'model'/],
  ])('%s with %s is refused', async (text, set, message) => {
    await expect(resolveLanguage(text, ...[set].flat())).rejects.toThrow(message);
  });

  test.each(['topP=0.9', 'temperature=2', 'minP=0.1', 'repetitionPenalty=1.2', 'presencePenalty=1'])(
    'refuses a sampled KL if completions do not follow the model: %s',
    async (set) => {
      const [key] = set.split('=');
      await expect(
        resolveLanguage(sampled, 'language.kl=sampled', `language.sampling.${set}`),
      ).rejects.toThrow(`samples of the reference policy, and ${key} changes their distribution`);
    },
  );

  test('accepts a sampled KL if completions follow the model', async () => {
    await expect(resolveLanguage(sampled, 'language.kl=sampled')).resolves.toBeDefined();
  });

  test('refuses a sampler that would never receive new weights', async () => {
    const text = `
language:
  model: { name: trainer, address: 'h:1', sampler: { address: 'h:2' } }
  prompts: { file: prompts.jsonl }
  reward: { name: program, file: reward.ts }
`;
    await expect(resolveLanguage(text)).rejects.toThrow(
      /would never receive the weights of the changing reference policy/,
    );
    await expect(resolveLanguage(text, 'reference=initial')).resolves.toBeDefined();
  });
});

describe('resolveJob: jobs of both kinds', () => {
  test('are distinguished by the key `language`', async () => {
    expect((await resolveJob('a.yaml', sampled)).kind).toBe('language');
    expect((await resolveJob('b.yaml', 'environment: { simulator: cartpole_swingup }')).kind).toBe('control');
    await expect(loadJob('/none.yaml')).rejects.toThrow(/there is no such file/);
  });
});

describe('a classifier of a plugin', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-config-'));
    await writeFile(
      join(folder, 'mine.ts'),
      `export function register({ feedback, z }: any): void {
        const provides = { accepts: true, rejects: true };
        const settings = z.strictObject({});
        const create = () => ({ provides, classify: ({ evaluation }: any) => ({ accept: evaluation, reject: evaluation }) });
        feedback.register({ name: 'verdict', readsLabels: true, settings, create });
        feedback.register({ name: 'tournament', comparesSamples: true, settings, create });
        feedback.register({ name: 'absolute', settings, create });
      }\n`,
    );
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const refused = (...sets: string[]) =>
    resolveLanguageConfig(
      join(folder, 'job.yaml'),
      `${sampled}plugins: [./mine.ts]\n`,
      sets.map(parseOverride),
    );

  test('that reads labels is refused for sampled completions, as the built-in one is', async () => {
    await expect(refused('feedback.name=verdict')).rejects.toThrow(
      /feedback.*: 'verdict' reads the labels of a dataset, and sampled completions have none/,
    );
    await expect(refused('feedback.name=label')).rejects.toThrow(/'label' reads the labels/);
  });

  test('that compares samples needs at least two, as the built-in ones do', async () => {
    for (const name of ['tournament', 'top-k', 'median']) {
      await expect(refused(`feedback.name=${name}`, 'learner.samples=1')).rejects.toThrow(
        `learner.samples: 1 is too few for '${name}'`,
      );
    }
    await expect(refused('feedback.name=absolute', 'learner.samples=1')).resolves.toBeDefined();
  });
});
