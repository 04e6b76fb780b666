import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCatalogue } from '../../../src/config/catalogue.js';
import { loadPlugins } from '../../../src/config/plugins.js';
import type { Tensor2D } from '../../../src/engine/tensors.js';
import * as tf from '../../../src/engine/tf.js';
import { publicModules } from '../../../src/public-modules.js';
import { normal } from '../../engine/agreement.js';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const examples = fileURLToPath(new URL('../../../examples', import.meta.url));
const plugin = join(examples, 'custom-feedback/torque-limit.ts');

let folder: string;
beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'pmpo-feedback-'));
});
afterAll(() => rm(folder, { recursive: true }));

it("classifiers that the program exports, a plugin's too, are the same in PyTorch, JAX and NumPy", async () => {
  const catalogue = createCatalogue(publicModules);
  await loadPlugins([plugin], catalogue, here, publicModules);
  const exported: readonly (readonly [string, object, readonly string[]])[] = [
    ['top-k', { accept: 1, reject: 2 }, []],
    ['value-baseline', {}, []],
    ['torque-limit', { limit: 0.6 }, ['--set', `plugins=[${plugin}]`, '--sample-shape', '2']],
  ];
  const cases = [];
  for (const [name, settings, more] of exported) {
    const set = Object.entries(settings).flatMap(([key, value]) => ['--set', `feedback.${key}=${value}`]);
    const file = join(folder, `${name}.onnx`);
    await run(process.execPath, [
      process.env.PMPO_BIN!,
      ...['export-feedback', '--feedback', name, ...set, ...more, '-o', file],
    ]);
    for (const [n, b] of [
      [4, 5],
      [6, 2],
    ] as const) {
      const evaluation = normal(`f ${n}`, n, b).data;
      const mask = normal(`m ${n}`, n, b).data.map((x) => Number(x > -1));
      const samples = normal(`y ${n}`, n * b, 2).data;
      const { accept, reject } = catalogue.feedback.get(name).create(settings, n).classify!({
        evaluation: tf.tensor2d(evaluation, [n, b]),
        mask: tf.tensor2d(mask, [n, b]),
        baseline: tf.zeros([b]),
        samples: tf.tensor3d(samples, [n, b, 2]),
        contexts: tf.zeros([b]),
      });
      const list = (x: Iterable<number>) => [...x];
      const weights = [accept, reject].map((side) => list((side as Tensor2D).dataSync()));
      cases.push({
        name,
        n,
        b,
        evaluation: list(evaluation),
        mask: list(mask),
        samples: list(samples),
        weights,
      });
    }
  }
  await writeFile(join(folder, 'cases.json'), JSON.stringify(cases));
  const peer = await run(process.env.PMPO_PYTHON_OPERATORS!, ['-B', join(here, 'feedback_peer.py'), folder]);
  expect(JSON.parse(peer.stdout.trim().split('\n').at(-1)!)).toEqual({ compared: 36, different: [] });
});
