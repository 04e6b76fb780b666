import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeSafetensors } from '../../../src/core/safetensors.js';
import type { Tensor2D } from '../../../src/engine/tensors.js';
import * as tf from '../../../src/engine/tf.js';
import type { LanguageModel } from '../../../src/language/language-model.js';
import type {
  SequenceCoefficients,
  SequenceScore,
  TokenSequence,
} from '../../../src/language/trainable-model.js';
import { openTrainer, type TrainerClient } from '../../../src/language/trainer-client.js';
import { vocabularyHash, vocabularyOf } from '../../../src/language/vocabulary.js';
import { dpo } from '../../../src/operators/dpo.js';
import { kto } from '../../../src/operators/kto.js';
import type { Operator } from '../../../src/operators/operator.js';
import { pmpo } from '../../../src/operators/pmpo.js';
import { type PythonProgram, startPythonProgram } from '../../../src/python/program.js';

// The operators train a Hugging Face model through plugins/torch-trainer: the coefficients are computed here and the gradient
// there. Losses and gradients must equal those that PyTorch and TRL compute alone.

const python = process.env.PMPO_PYTHON_TORCH_TRAINER;
if (python === undefined) throw new Error('run this with `npm run test:interop torch_trainer`');
const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const plugin = fileURLToPath(new URL('../../../plugins/torch-trainer', import.meta.url));

let folder: string;
let program: PythonProgram;
let trainer: TrainerClient;
let sampler: LanguageModel;

beforeAll(async () => {
  await tf.setBackend('cpu');
  folder = await mkdtemp(join(tmpdir(), 'pmpo-trainer-'));
  await run(python, ['-B', join(here, 'small_models.py'), folder]);
  await writeFile(join(folder, 'token'), 'open sesame\n');
  const options = ['--port', '0', '--device', 'cpu', '--until-stdin-closes', '--folder', folder];
  program = await startPythonProgram({
    name: 'the trainer',
    python,
    args: [
      ...['-B', '-m', 'pmpo_torch_trainer', '--model', join(folder, 'gemma3')],
      ...options,
      ...['--token-file', join(folder, 'token')],
    ],
    env: { ...process.env, PYTHONPATH: [plugin, process.env.PYTHONPATH ?? ''].join(delimiter) },
    readyLine: /^Serving .* on (\S+:\d+)/m,
  });
  const tokenizer = JSON.parse(await readFile(join(folder, 'gemma3', 'tokenizer.json'), 'utf8'));
  sampler = {
    info: { name: 'gemma3' },
    tokenizer: { vocabularyHash: vocabularyHash(vocabularyOf(tokenizer)) },
  } as LanguageModel;
  trainer = await open(sampler);
}, 600_000);

afterAll(async () => {
  await trainer?.close();
  await program?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function open(by: LanguageModel, more: object = {}): Promise<TrainerClient> {
  const token = { file: join(folder, 'token') };
  return openTrainer({ address: program.ready, sampler: by, token, deadlineSeconds: 60, ...more });
}

/** B = 2 prompts with N = 3 completions each, of several lengths. One completion is neither accepted nor rejected. */
const batch = {
  prompts: [
    [1, 40, 41],
    [1, 99],
  ],
  completions: [
    [
      [50, 51, 52],
      [7, 8],
    ],
    [
      [60, 61, 62, 63, 64, 2],
      [9, 10, 11, 12],
    ],
    [[70], [80, 81, 82]],
  ],
  evaluation: [
    [3, 1],
    [1, 3],
    [2, 2],
  ],
  accept: [
    [1, 0],
    [0, 1],
    [1, 0],
  ],
  reject: [
    [0, 1],
    [1, 0],
    [0, 0],
  ],
  settings: { pmpo: { alpha: 0.4, beta: 0.7 }, dpo: { beta: 0.3 }, kto: { beta: 0.2 } },
};
const [N, B] = [3, 2];
const sequences: TokenSequence[] = batch.completions.flatMap((row) =>
  row.map((completion, b) => ({
    prompt: Int32Array.from(batch.prompts[b]),
    completion: Int32Array.from(completion),
  })),
);

const sum = (values: Float32Array | undefined) => values!.reduce((total, value) => total + value, 0);

/** The operator's loss on the scores, and its gradients with respect to log-probs and KL, as coefficients. */
function coefficientsOf(operator: Operator, scores: readonly SequenceScore[]) {
  const table = (of: (score: SequenceScore) => number) => tf.tensor2d(scores.map(of), [N, B]);
  const fixed = (rows: number[][]) => tf.tensor2d(rows);
  const lossOf = (logProb: Tensor2D, kl: Tensor2D) =>
    operator.loss(
      {
        logProb,
        referenceLogProb: table((score) => sum(score.referenceLogProb)),
        evaluation: fixed(batch.evaluation),
        accept: fixed(batch.accept),
        reject: fixed(batch.reject),
        mask: tf.ones([N, B]),
        // The completions are samples of the reference, so the KL of sequences is the mean of their summed token KLs.
        kl: () => ({
          exact: true,
          parts: { sequence: tf.expandDims(tf.mean(kl, 0), -1) as Tensor2D },
        }),
      },
      {},
    ).loss;
  // TensorFlow.js needs a loss that depends on every input.
  const loss = (logProb: Tensor2D, kl: Tensor2D) =>
    tf.add(lossOf(logProb, kl), tf.mul(tf.sum(kl), 0)) as tf.Scalar;
  const given = [table((score) => sum(score.logProb)), table((score) => sum(score.kl))];
  const { value, grads } = tf.valueAndGrads((logProb, kl) => loss(logProb as Tensor2D, kl as Tensor2D))(
    given,
  );
  const [logProb, kl] = grads.map((gradient) => gradient.dataSync());
  const coefficients: SequenceCoefficients[] = sequences.map((_, i) => ({ logProb: logProb[i], kl: kl[i] }));
  return { loss: value.dataSync()[0], coefficients };
}

/** The gradient accumulated in the trainer, read from a checkpoint. */
async function gradientIn(checkpoint: string) {
  const path = join(folder, checkpoint);
  const data = (await readdir(path)).find((name) => name.startsWith('data-'))!;
  return decodeSafetensors(await readFile(join(path, data, 'gradient.safetensors')), path).tensors;
}

describe('one step through the trainer', () => {
  const operators = {
    pmpo: pmpo(batch.settings.pmpo),
    dpo: dpo(batch.settings.dpo),
    kto: kto(batch.settings.kto),
  };
  const reference = () => join(folder, 'reference');

  beforeAll(async () => {
    // Two steps move the policy away from its reference.
    for (const factor of [-1, 0.5]) {
      await trainer.forwardBackward(
        sequences,
        sequences.map((_, i) => ({ logProb: factor * (1 + i) })),
      );
      await trainer.optimStep({ learningRate: 0.02 });
    }
    await trainer.save('moved');
    await writeFile(join(folder, 'batch.json'), JSON.stringify(batch));
    const args = [join(folder, 'gemma3'), join(folder, 'moved'), join(folder, 'batch.json'), reference()];
    await run(python, ['-B', join(here, 'reference_steps.py'), ...args]);
  }, 600_000);

  test.each(['pmpo', 'dpo', 'kto'] as const)('%s: loss and gradient equal those of PyTorch', async (name) => {
    await trainer.load('moved');
    const scores = await trainer.score(sequences, { policy: true, reference: true, kl: true });
    const { loss, coefficients } = coefficientsOf(operators[name], scores);
    const losses = JSON.parse(await readFile(join(reference(), 'losses.json'), 'utf8'));
    expect(Math.abs(loss - losses[name])).toBeLessThan(1e-4 * Math.max(1, Math.abs(loss)));
    await trainer.forwardBackward(sequences, coefficients);
    await trainer.save(name);
    const found = await gradientIn(name);
    const file = join(reference(), `${name}.safetensors`);
    const expected = decodeSafetensors(await readFile(file), file).tensors;
    expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
    let largest = 0;
    for (const [key, { data }] of Object.entries(expected)) {
      data.forEach((value, i) => {
        const error = Math.abs(Number(found[key].data[i]) - Number(value));
        largest = Math.max(largest, Math.abs(Number(value)));
        // The negated comparison fails for NaN.
        if (!(error <= 1e-4 * Math.max(1, Math.abs(Number(value))))) {
          expect.fail(`${key}[${i}] is ${found[key].data[i]}, PyTorch says ${value}`);
        }
      });
    }
    expect(largest).toBeGreaterThan(0.01);
  });

  test('an operator without a KL has KL coefficients of 0', () => {
    const scores = sequences.map(({ completion: { length } }) => ({
      logProb: new Float32Array(length).fill(-1),
      referenceLogProb: new Float32Array(length).fill(-1),
      kl: new Float32Array(length),
    }));
    expect(coefficientsOf(operators.dpo, scores).coefficients.every(({ kl }) => kl === 0)).toBe(true);
  });
});

describe('the client', () => {
  test('describes the trained model', () => {
    expect(trainer.info).toMatchObject({ vocabularySize: 320, contextLength: 64 });
    expect(trainer.info.name).toContain('gemma3');
    expect(trainer.info.trainableParameters).toBeGreaterThan(1000);
  });

  test('splits requests over the message limit, with the same scores and gradient', async () => {
    await trainer.load('moved');
    const small = await open(sampler, { maxMessageMegabytes: 700 / 2 ** 20 });
    const coefficients = sequences.map((_, i) => ({ logProb: 0.1 * i, kl: 0.2 }));
    const whole = await trainer.forwardBackward(sequences, coefficients);
    await trainer.save('whole');
    await trainer.load('moved');
    const parts = await small.forwardBackward(sequences, coefficients);
    await small.save('parts');
    parts.forEach((score, i) => {
      expect(Array.from(score.logProb!)).toEqual(
        Array.from(whole[i].logProb!, (value) => expect.closeTo(value, 4)),
      );
    });
    const [one, other] = [await gradientIn('whole'), await gradientIn('parts')];
    for (const [key, { data }] of Object.entries(one)) {
      data.forEach((value, i) => {
        const error = Math.abs(Number(value) - Number(other[key].data[i]));
        expect(error).toBeLessThan(1e-4 * Math.max(1, Math.abs(Number(value))));
      });
    }
    await small.close();
  });

  test('trains with a coefficient per token, counts steps, and restores a checkpoint', async () => {
    await trainer.load('moved');
    const before = trainer.info.steps;
    const byToken = sequences.map(({ completion }) => ({
      logProb: new Float32Array(completion.length).fill(0.1),
    }));
    const scores = await trainer.forwardBackward(sequences, byToken);
    expect(Object.keys(scores[0])).toEqual(['logProb']);
    const { gradientNorm } = await trainer.optimStep({ learningRate: 0.01, maxGradientNorm: 1 });
    expect(gradientNorm).toBeGreaterThan(0);
    expect(trainer.info.steps).toBe(before + 1);
    await trainer.copyReference(0.5);
    await trainer.copyReference();
    await trainer.publish('reference');
    const [{ kl }] = await trainer.score(sequences, { kl: true });
    expect(Array.from(kl!)).toEqual([0, 0, 0]);
    expect(await trainer.publishTo('published', 'policy')).toBe(join(folder, 'published'));
    await trainer.load('moved');
    expect(trainer.info.steps).toBe(before);
  });

  test("refuses a sampler with another vocabulary, and passes on the trainer's errors", async () => {
    const stranger = {
      ...sampler,
      info: { name: 'stranger' },
      tokenizer: { vocabularyHash: '00' },
    } as LanguageModel;
    await expect(open(stranger)).rejects.toThrow(
      "has another vocabulary than the sampler's tokenizer (stranger)",
    );
    await expect(open(sampler, { token: undefined })).rejects.toThrow('the server requires authentication');
    const long = { prompt: Int32Array.of(1), completion: new Int32Array(64).fill(5) };
    await expect(trainer.score([long], { policy: true })).rejects.toThrow(
      'the server refused Score: INVALID_ARGUMENT: sequence 0: 65 tokens exceed the context of 64',
    );
    await expect(trainer.save('../elsewhere')).rejects.toThrow('is not inside');
    await expect(open(sampler, { address: '127.0.0.1:1' })).rejects.toThrow(
      '127.0.0.1:1: no server answers there',
    );
  });
});
