import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run, temporaryFolder } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const example = join(projectRoot, 'examples/bandit/study.yaml');
const reproduce = (study: string, ...more: string[]) =>
  run(['reproduce', study, '--output', folder.path, ...more], {
    // No Python: the program must do without.
    env: { PYTHON: '/nowhere/python', PMPO_CACHE: join(folder.path, 'cache') },
    timeoutSeconds: 170,
  });

test('examples/bandit/study.yaml makes its searches, figures and tables', async () => {
  const { code, stderr } = await reproduce(example, '--scale', 'smoke');
  expect(code, stderr).toBe(0);
  const results = join(folder.path, 'study-smoke', 'results');
  const read = (name: string) => readFile(join(results, name), 'utf8');
  expect(await read('summary.md')).toMatch(/^\| Rejected alone, β = 2 \| \S+ \(\S+ to \S+\) \|/m);
  const { searches, paths, stability, cmaEs } = JSON.parse(await read('data.json'));
  expect(cmaEs).toBeUndefined();
  const { lines, endings } = searches[0];
  expect(lines).toHaveLength(5 * 2);
  expect(endings.every(({ values }: { values: number[] }) => values.length === 2)).toBe(true);
  expect(paths).toHaveLength(5 * 2);
  expect(stability[0].cells).toHaveLength(4);
  // Rejected samples alone without a KL: the objective has no bound, and the policy is on its way out of the domain.
  expect(stability[0].cells[0]).toMatchObject({ alpha: 0, beta: 0 });
  expect(stability[0].cells[0].value).toBeGreaterThan(10 * 5.12 ** 2);
  expect(stability[0].cells[1].value).toBeLessThan(1);
  for (const name of ['curves.svg', 'contours.svg', 'stability.svg'])
    expect(await read(name)).toMatch(/^<svg /);
  expect(JSON.parse(await read('provenance.json'))).toMatchObject({
    command: expect.stringContaining('pmpo reproduce'),
    versions: { pmpo: expect.any(String), node: process.versions.node },
    machine: { cores: expect.any(Number) },
    seconds: expect.any(Number),
  });
}, 200_000);

test('pmpo reproduce bandit says that CMA-ES is missing where there is no Python', async () => {
  const { code, stderr } = await reproduce('bandit', '--scale', 'smoke');
  expect(code, stderr).toBe(0);
  expect(stderr.match(/^CMA-ES is missing: PYTHON=\/nowhere\/python: not found/gm)).toHaveLength(1);
  const results = join(folder.path, 'bandit-smoke', 'results');
  const summary = await readFile(join(results, 'summary.md'), 'utf8');
  expect(summary).toMatch(/^CMA-ES is missing: PYTHON=/m);
  expect(summary).not.toMatch(/^\| CMA-ES/m);
  const { versions } = JSON.parse(await readFile(join(results, 'provenance.json'), 'utf8'));
  expect(versions['CMA-ES']).toMatch(/^missing: PYTHON=/);
}, 200_000);

test('what does not apply to bandits is refused before anything starts', async () => {
  const refuse = async (...more: string[]) => {
    const { code, stderr } = await reproduce(example, ...more);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await refuse('--address', 'localhost:1')).toMatch(/--address: a study of bandits needs no server/);
  expect(await refuse('--scale', 'smok')).toMatch(/unknown scale 'smok'. Did you mean 'smoke'/);
});

test('a study names operators of plugins, beside its file', async () => {
  const plugin = `export function register({ operators, z, tf }) {
    operators.register({
      name: 'likelihood',
      description: 'accepted samples alone',
      settings: z.strictObject({}),
      create: () => ({
        needs: { feedback: 'accepts', evaluation: false, referenceLogProb: false, kl: 'none' },
        independentContexts: true,
        initialState: () => ({}),
        loss: ({ logProb, accept }) => ({ loss: tf.neg(tf.mean(tf.mul(logProb, accept))), metrics: {} }),
      }),
    });
  }`;
  await writeFile(join(folder.path, 'plugin.mjs'), plugin);
  const study = (plugins: string) => `
bandit:
  ${plugins}
  seeds: 1
  base: {reference: {period: 5, copies: 4}}
  methods: {own: {operator: {name: likelihood}, learningRate: 0.01}}
  searches: {curves: {title: Curves, functions: [sphere], cmaEs: false}}
`;
  const file = join(folder.path, 'plugged.yaml');
  await writeFile(file, study('plugins: [plugin.mjs]'));
  const { code, stderr } = await reproduce(file);
  expect(code, stderr).toBe(0);
  const summary = await readFile(join(folder.path, 'plugged-full', 'results', 'summary.md'), 'utf8');
  expect(summary).toMatch(/^\| own \| /m);
  await writeFile(file, study(''));
  const without = await reproduce(file);
  expect(without.code).toBe(2);
  expect(without.stderr).toMatch(/bandit\.methods\.own\.operator: unknown operator 'likelihood'/);
}, 200_000);
