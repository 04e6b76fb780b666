import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ensureBuilt,
  parameters,
  run,
  runHere,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Trains with a plugin whose classifier `mine` has this `body`. */
async function train(name: string, body: string, command = runHere) {
  await writeConfig(
    folder.path,
    `${name}.ts`,
    `export function register({ feedback, z, tf }: { feedback: any; z: any; tf: any }): void {
      feedback.register({
        name: 'mine',
        description: 'for a test',
        settings: z.strictObject({ margin: z.number().default(0) }),
        create: ({ margin }: { margin: number }) => ({
          provides: { accepts: true, rejects: true },
          ${body}
        }),
      });
    }\n`,
  );
  const config = {
    ...tinyConfig(join(folder.path, 'runs')),
    plugins: [`./${name}.ts`],
    feedback: { name: 'mine' },
  };
  return command(['train', await writeConfig(folder.path, `${name}.yaml`, config), '--name', name]);
}

describe('a classifier of a plugin in one TypeScript file', () => {
  test.each([
    [
      'tensors',
      `classify: ({ evaluation, baseline }: any) => {
        const accept = tf.cast(tf.greaterEqual(tf.sub(evaluation, baseline), margin), 'float32');
        return { accept, reject: tf.sub(1, accept) };
      },`,
    ],
    [
      'numbers',
      `classifyOnHost: ({ evaluation, baseline, contexts }: any) => {
        const accept = evaluation.map((value: number, i: number) => Number(value >= baseline[i % contexts] + margin));
        return { accept, reject: accept.map((weight: number) => 1 - weight) };
      },`,
    ],
  ])('can be written with %s', async (name, body) => {
    const { code, stderr } = await train(name, body, run);
    expect(stderr).toMatch(/Return .* over 1 episode/);
    expect(code).toBe(0);
  });

  test.each([
    ['throws', "classify: () => { throw new Error('no idea'); },", /'mine'.*no idea/],
    [
      'shape',
      'classify: ({ baseline }: any) => ({ accept: baseline, reject: baseline }),',
      /'mine'.*has the shape.*\[N, B\]/,
    ],
    [
      'nan',
      'classify: ({ evaluation }: any) => ({ accept: tf.mul(evaluation, NaN), reject: tf.zerosLike(evaluation) }),',
      /'mine'.*NaN/,
    ],
    ['length', 'classifyOnHost: () => ({ accept: [1], reject: [0] }),', /'mine'.*has 1 weights/],
  ])('is named in the error if it fails: %s', async (name, body, message) => {
    const { code, stderr } = await train(name, body);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });
});

test('Ctrl-C ends a run whose classifier computes for ever; resumed, it ends with the parameters of one that never stopped', async () => {
  const output = join(folder.path, 'for-ever');
  await writeConfig(
    folder.path,
    'for-ever.ts',
    `let calls = 0;
    export function register({ feedback, z }: { feedback: any; z: any }): void {
      feedback.register({
        name: 'mine',
        settings: z.strictObject({}),
        create: () => ({
          provides: { accepts: true, rejects: true },
          classifyOnHost: ({ evaluation, baseline, contexts }: any) => {
            calls += 1;
            if (calls > 6 && process.env.FOR_EVER) for (;;);
            const accept = evaluation.map((value: number, i: number) => Number(value >= baseline[i % contexts]));
            return { accept, reject: accept.map((weight: number) => 1 - weight) };
          },
        }),
      });
    }\n`,
  );
  const config = { ...tinyConfig(output), plugins: ['./for-ever.ts'], feedback: { name: 'mine' } };
  // Every step ends an episode, the one that is under way at the stop as well.
  config.environment = { ...config.environment, createSettings: { episodeSteps: 1 } };
  const file = await writeConfig(folder.path, 'for-ever.yaml', config);
  const stuck = start(['train', file, '--name', 'stopped', '--json'], { env: { FOR_EVER: '1' } });
  await stuck.until(/"event":"waiting","message":"waiting for feedback 'mine' for \d+ s/, 'stdout');
  stuck.child.kill('SIGINT');
  expect((await stuck.ended).stderr).toContain('Resume with: npx pmpo train');
  expect(await runHere(['train', '--resume', join(output, 'stopped'), '--quiet'])).toMatchObject({ code: 0 });
  expect(await runHere(['train', file, '--name', 'whole', '--quiet'])).toMatchObject({ code: 0 });
  const [whole, stopped] = await Promise.all(
    ['whole', 'stopped'].map(async (name) => {
      const checkpoints = join(output, name, 'checkpoints');
      const [last] = (await readdir(checkpoints))
        .filter((one) => one.endsWith('.safetensors'))
        .toSorted()
        .reverse();
      return parameters(join(checkpoints, last!));
    }),
  );
  expect(stopped).toEqual(whole);
}, 120_000);

test('a plugin that does not load is named in the error, with exit code 2', async () => {
  for (const [name, text, message] of [
    ['syntax', 'export function register( {', /plugin \.\/syntax\.ts: it does not load/],
    ['empty', 'export const nothing = 1;', /plugin \.\/empty\.ts: it exports no function `register`/],
    [
      'late',
      "export function register() { throw new Error('not today'); }",
      /plugin \.\/late\.ts: register threw: not today/,
    ],
  ] as const) {
    await writeConfig(folder.path, `${name}.ts`, text);
    const config = { ...tinyConfig(folder.path), plugins: [`./${name}.ts`] };
    const { code, stderr } = await runHere(['train', await writeConfig(folder.path, `${name}.yaml`, config)]);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  }
});
