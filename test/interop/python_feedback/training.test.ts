import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PythonProgram, startPythonProgram } from '../../../src/python/program.js';
import { start } from '../../end-to-end/program.js';
import { freePort } from '../../support/free-port.js';

// A training run whose completions are judged by a scikit-learn model in Python, which is killed and started again meanwhile.

const python = process.env.PMPO_PYTHON_PYTHON_FEEDBACK;
if (python === undefined) throw new Error('run this with `npm run test:interop python_feedback`');
const root = fileURLToPath(new URL('../../..', import.meta.url));
const example = join(root, 'examples/python-feedback');

let folder: string;
let judge: PythonProgram | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-python-feedback-'));
});
afterAll(async () => {
  await judge?.close();
  await rm(folder, { recursive: true, force: true });
});

const startJudge = (port: number) =>
  startPythonProgram({
    name: 'the judge',
    python,
    args: ['-B', join(example, 'judge.py'), String(port)],
    env: { ...process.env, PYTHONPATH: join(root, 'plugins/python') },
    readyLine: /^Serving feedback on (\S+:\d+)/m,
  });

test('a scikit-learn model labels a run, which goes on after the model was killed and started again', async () => {
  const port = await freePort();
  judge = await startJudge(port);
  const settings = {
    'feedback.address': judge.ready,
    'language.model.layers': 2,
    'language.model.width': 64,
    'language.model.pretraining.steps': 300,
    'learner.updates': 40,
    'evaluation.every': 40,
  };
  const run = start(
    [
      ...['train', join(example, 'reviews.yaml'), '--output', folder, '--name', 'judged', '--json'],
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ],
    { env: { PMPO_CACHE: join(folder, 'cache') }, timeoutSeconds: 280 },
  );
  await run.until(/"event":"evaluation"/, 'stdout');
  await judge.close();
  judge = undefined;
  await run.until(/"event":"waiting","message":"waiting for feedback 'remote'/, 'stdout');
  judge = await startJudge(port);
  const { code, stdout, stderr } = await run.ended;
  expect(code, stderr).toBe(0);
  const scores = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly event: string; readonly meanScore?: number })
    .flatMap(({ event, meanScore }) => (event === 'evaluation' ? [meanScore!] : []));
  expect(scores).toHaveLength(2);
  expect(scores[1]! - scores[0]!).toBeGreaterThan(0.1);
}, 300_000);
