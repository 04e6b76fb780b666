import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { configText, loadConfig, resolveConfig } from './load.js';
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
  test('fills in every default, the samples by the operator', async () => {
    const pmpo = await resolve(minimal);
    expect(pmpo.config).toMatchObject({
      operator: { name: 'pmpo', alpha: 0.5 },
      feedback: { name: 'top-k', accept: 2, reject: 2 },
      learner: { samples: 4 },
    });
    const mpo = await resolve(minimal, 'operator.name=mpo');
    expect(mpo.config.learner.samples).toBe(20);
    expect(mpo.operator.needs.evaluation).toBe(true);
    expect((await resolve(minimal, 'operator.name=mpo', 'learner.samples=8')).config.learner.samples).toBe(8);
  });

  test('a block without a name is of the default operator', async () => {
    const { config } = await resolve(minimal, 'operator.alpha=1');
    expect(config.operator).toMatchObject({ name: 'pmpo', alpha: 1 });
  });

  test('settings of the operator in the file do not reach another one', async () => {
    const text = `${minimal}operator: {name: pmpo, alpha: 0.25}\n`;
    const { config } = await resolve(text, 'operator.name=dpo');
    expect(config.operator).toEqual((await resolve(`${minimal}operator: {name: dpo}`)).config.operator);
  });

  test.each(['pmpo', 'mpo', 'dpo', 'kto', 'behavior-cloning'])(
    'what it resolves for %s loads again the same',
    async (name) => {
      const { config } = await resolve(
        minimal,
        `operator.name=${name}`,
        'reference={rate: 0.01}',
        'policy.head=categorical',
      );
      const again = await resolveConfig('/elsewhere/config.yaml', configText(config));
      expect(again.config).toEqual(config);
      expect(configText(again.config)).toBe(configText(config));
    },
  );

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

  test('takes paths in a file from beside it, and those on the command line from here', async () => {
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

  test('refuses feedback that the operator cannot use, and says why', async () => {
    const text = `${minimal}operator: {name: dpo}\nfeedback: {name: top-k, reject: 0}\n`;
    expect(await refusal(text)).toMatch(
      /^run\.yaml: operator \(line 2\): 'dpo' compares .* accepted samples only/,
    );
  });

  test('refuses feedback that does not fit the samples', async () => {
    expect((await resolve(minimal, 'learner.samples=3')).config.feedback).toEqual({
      name: 'top-k',
      accept: 1,
      reject: 1,
    });
    const text = `${minimal}feedback: {accept: 2, reject: 2}\n`;
    expect(await refusal(text, 'learner.samples=3')).toMatch(
      /^run\.yaml: feedback .line 2.: top-k accepts 2 and rejects 2 of 3/,
    );
  });

  test('warns of what is legal and risky', async () => {
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

  test('finds plugins beside the file, lets their settings join the validation, and resolves their paths', async () => {
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

  test('says that a file or a plugin is not there', async () => {
    await expect(loadConfig(join(folder, 'none.yaml'))).rejects.toThrow(/none\.yaml: there is no such file/);
    const file = join(folder, 'plugin.yaml');
    await writeFile(file, `${minimal}plugins: [./none.ts]\n`);
    await expect(loadConfig(file)).rejects.toThrow(/plugin \.\/none\.ts: there is no file/);
  });
});
