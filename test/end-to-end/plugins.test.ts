import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, run, temporaryFolder, tinyConfig, writeConfig } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Trains with a plugin whose classifier `mine` has this `body`. */
async function train(name: string, body: string) {
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
  return run(['train', await writeConfig(folder.path, `${name}.yaml`, config), '--name', name]);
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
    const { code, stderr } = await train(name, body);
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
    const { code, stderr } = await run(['train', await writeConfig(folder.path, `${name}.yaml`, config)]);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  }
});
