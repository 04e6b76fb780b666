import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCatalogue } from '../../../src/config/catalogue.js';
import { loadPlugins } from '../../../src/config/plugins.js';
import { createEngine } from '../../../src/engine/create.js';
import type { Engine } from '../../../src/engine/engine.js';
import type {
  HostTensor,
  NamedHostTensors,
  NamedTensors,
  Tensor,
  Tensor2D,
} from '../../../src/engine/tensors.js';
import * as tf from '../../../src/engine/tf.js';
import { normal } from '../../engine/agreement.js';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const plugin = join(here, 'margin.ts');
const parts = ['mean', 'covariance'];

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-operators-'));
  engine = await createEngine('onnx');
});
afterAll(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true });
});

const map = ({ shape, data }: HostTensor, fn: (x: number) => number): HostTensor => ({
  shape,
  data: Float32Array.from(data, fn),
});

/** A batch of N × B samples whose KL has D dimensions in each part, by the names that Python has for the inputs. */
function batch(n: number, b: number, d: number): NamedHostTensors {
  const accept = map(normal(`accept ${n} ${b}`, n, b), (x) => Number(x > 0));
  return {
    log_prob: normal('p', n, b),
    reference_log_prob: normal('r', n, b),
    accept,
    reject: map(accept, (x) => 1 - x),
    mask: map(normal('m', n, b), (x) => Number(x > -1)),
    ...Object.fromEntries(parts.map((part) => [`kl/${part}`, map(normal(part, b, d), Math.abs)])),
    'state/slack': { shape: [1], data: Float32Array.of(0.3) },
  };
}

/** What `engine.jit` gives for the operator: the loss, its metrics and its gradients, by Python's names. */
async function byEngine(settings: object, inputs: NamedHostTensors): Promise<NamedHostTensors> {
  const catalogue = createCatalogue();
  await loadPlugins([plugin], catalogue, here);
  const operator = catalogue.operators.get('margin').create(settings);
  const differentiable = ['log_prob', ...parts.map((part) => `kl/${part}`), 'state/slack'];
  return engine
    .jit('margin', (x: NamedTensors) => {
      let metrics: NamedTensors = {};
      const { value, grads } = tf.valueAndGrads((...given: Tensor[]) => {
        const at = (name: string) => (given[differentiable.indexOf(name)] ?? x[name]) as Tensor2D;
        const result = operator.loss(
          {
            logProb: at('log_prob'),
            referenceLogProb: at('reference_log_prob'),
            accept: at('accept'),
            reject: at('reject'),
            mask: at('mask'),
            kl: { exact: true, parts: Object.fromEntries(parts.map((part) => [part, at(`kl/${part}`)])) },
          },
          { slack: at('state/slack') },
        );
        metrics = { ...result.metrics };
        for (const metric of Object.values(metrics)) tf.keep(metric);
        return result.loss;
      })(differentiable.map((name) => x[name]!));
      return {
        loss: value,
        ...metrics,
        ...Object.fromEntries(differentiable.map((name, i) => [name, grads[i]!])),
      };
    })
    .run(inputs);
}

it("a plugin's operator, exported by the program, is the same in PyTorch and JAX", async () => {
  const model = join(folder, 'operator.onnx');
  const command = ['export-operator', '--operator', 'margin', '--set', `plugins=[${plugin}]`];
  const { stdout, stderr } = await run(process.execPath, [
    process.env.PMPO_BIN!,
    ...command,
    ...['--kl', parts.join(','), '-o', model],
  ]);
  expect(stdout).toBe(`${model}\n`);
  expect(stderr).toContain('settings that stay open: margin, kl; state: slack');
  const plain = (tensors: NamedHostTensors) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { shape, data }]) => [name, { shape, data: [...data] }]),
    );
  const cases = [];
  for (const [n, b, d] of [
    [1, 1, 1],
    [4, 6, 3],
    [3, 9, 2],
  ] as const) {
    const settings = { margin: 0.5 * n, kl: 0.2 * b };
    const inputs = batch(n, b, d);
    const results = await byEngine(settings, inputs);
    cases.push({ settings, inputs: plain(inputs), results: plain(results) });
  }
  await writeFile(join(folder, 'cases.json'), JSON.stringify(cases));
  const peer = await run(process.env.PMPO_PYTHON_OPERATORS!, ['-B', join(here, 'peer.py'), folder]);
  const { worst } = JSON.parse(peer.stdout.trim().split('\n').at(-1)!) as { worst: number };
  expect(worst).toBeLessThanOrEqual(2e-6);
});

it("PMPO's default weight of the KL is the same in TypeScript and in Python", async () => {
  const alphas = [0, 0.1, 0.2, 0.5, 1];
  const { operators } = createCatalogue();
  const expected = alphas.map((alpha) => {
    const { beta } = operators.get('pmpo').complete({ alpha }, ['sequence']) as { beta: number };
    return beta;
  });
  const code = `import json, pmpo; print(json.dumps([pmpo.operators.pmpo(alpha=a).settings["beta"] for a in ${JSON.stringify(alphas)}]))`;
  const { stdout } = await run(process.env.PMPO_PYTHON_OPERATORS!, ['-B', '-c', code], {
    env: { ...process.env, PYTHONPATH: join(here, '../../../plugins/python') },
  });
  const found = JSON.parse(stdout) as number[];
  for (const [i, beta] of expected.entries()) expect(found[i]).toBeCloseTo(beta, 12);
});
