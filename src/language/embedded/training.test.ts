import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Numbers, readFixture, tensor } from '../../../test/references/read.js';
import { referenceConfig as config } from '../../../test/support/tiny-model.js';
import { createEngine } from '../../engine/create.js';
import type { Engine } from '../../engine/engine.js';
import type { NamedHostTensors, NamedVariables } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { SequenceCoefficients, TokenSequence } from '../trainable-model.js';
import { createVariables } from './pretraining.js';
import { createTraining, type Training } from './training.js';

interface Fixture {
  readonly lengths: readonly number[];
  readonly parameters: Readonly<Record<string, Numbers>>;
  readonly referenceParameters: Readonly<Record<string, Numbers>>;
  readonly tokens: readonly (readonly number[])[];
  readonly next: readonly (readonly number[])[];
  readonly coefficients: Readonly<Record<'logProb' | 'kl' | 'reverseKl', readonly (readonly number[])[]>>;
  readonly terms: Readonly<Record<'logProb' | 'kl' | 'reverseKl', readonly (readonly number[])[]>>;
  readonly referenceLogProb: readonly (readonly number[])[];
  readonly gradients: Readonly<Record<string, Numbers>>;
}
const fixture = readFixture<Fixture>('llama_transformers');

const host = (parameters: Readonly<Record<string, Numbers>>): NamedHostTensors =>
  Object.fromEntries(
    Object.entries(parameters).map(([name, numbers]) => [
      name,
      { shape: tensor(numbers).shape, data: Float32Array.from([numbers].flat(9) as number[]) },
    ]),
  );

/**
 * The fixture's rows are any tokens and any followers; here the followers of a row's tokens are its next tokens. So each
 * position becomes a separate sequence: the tokens up to it, and one completion token.
 */
const sequences: TokenSequence[] = [];
const places: (readonly [number, number])[] = [];
for (const [b, row] of fixture.tokens.entries()) {
  for (let t = 0; t < fixture.lengths[b]!; t++) {
    sequences.push({
      prompt: Int32Array.from(row.slice(0, t + 1)),
      completion: Int32Array.of(fixture.next[b]![t]!),
    });
    places.push([b, t]);
  }
}
const coefficients: SequenceCoefficients[] = places.map(([b, t], i) => {
  const { logProb, kl, reverseKl } = fixture.coefficients;
  return {
    // Coefficients are numbers and arrays.
    logProb: i % 2 === 0 ? logProb[b]![t]! : Float32Array.of(logProb[b]![t]!),
    kl: kl[b]![t]!,
    reverseKl: reverseKl[b]![t]!,
  };
});

let engine: Engine;
let policy: NamedVariables;
let training: Training;
beforeAll(async () => {
  engine = await createEngine('onnx');
  await tf.setBackend('cpu');
  policy = createVariables(engine, 'policy', host(fixture.parameters));
  const reference = createVariables(engine, 'reference', host(fixture.referenceParameters));
  training = createTraining(engine, config, { policy, reference });
});
afterAll(() => engine.dispose());

async function accumulated(): Promise<Record<string, Float32Array>> {
  const [flat] = await engine.read([training.slots.gradient!]);
  let at = 0;
  return Object.fromEntries(
    Object.entries(policy).map(([name, variable]) => {
      const from = at;
      at += variable.size;
      return [name, Float32Array.from(flat.data.slice(from, at))];
    }),
  );
}

function expectNumbers(
  actual: ArrayLike<number>,
  wanted: ArrayLike<number>,
  label: string,
  tolerance = 1e-5,
) {
  expect(actual.length, label).toBe(wanted.length);
  for (let i = 0; i < wanted.length; i++) {
    const error = Math.abs(actual[i]! - wanted[i]!) / Math.max(1, Math.abs(wanted[i]!));
    if (!(error <= tolerance)) expect.fail(`${label}[${i}] is ${actual[i]}, wanted ${wanted[i]}`);
  }
}
const at = (values: readonly (readonly number[])[]) => places.map(([b, t]) => values[b]![t]!);

describe('scores', () => {
  it('agree with transformers: log-probs of policy and reference, and both divergences', async () => {
    const scores = await training.score(sequences, {
      policy: true,
      reference: true,
      kl: true,
      reverseKl: true,
    });
    for (const name of ['logProb', 'kl', 'reverseKl'] as const) {
      expectNumbers(
        scores.map((score) => score[name]![0]!),
        at(fixture.terms[name]),
        name,
      );
    }
    expectNumbers(
      scores.map((score) => score.referenceLogProb![0]!),
      at(fixture.referenceLogProb),
      'referenceLogProb',
    );
  });

  it('hold only the requested terms, with one number for each token of the completion', async () => {
    const [score] = await training.score([{ prompt: Int32Array.of(1), completion: Int32Array.of(2, 3, 4) }], {
      reference: true,
    });
    expect(Object.keys(score!)).toEqual(['referenceLogProb']);
    expect(score!.referenceLogProb!.length).toBe(3);
  });

  it('do not depend on the other sequences in the call', async () => {
    const sequence = { prompt: Int32Array.of(5, 6), completion: Int32Array.of(7, 8, 9) };
    const long = { prompt: new Int32Array(20).fill(3), completion: new Int32Array(5).fill(4) };
    const [alone] = await training.score([sequence], { policy: true });
    const [, beside] = await training.score([long, sequence, sequence], { policy: true });
    expectNumbers(beside!.logProb!, alone!.logProb!, 'log-probs', 1e-6);
  });
});

describe('gradients by coefficients', () => {
  it('agree with PyTorch, and add up over calls', async () => {
    const scores = await training.forwardBackward(sequences, coefficients);
    expectNumbers(
      scores.map((score) => score.kl![0]!),
      at(fixture.terms.kl),
      'kl',
    );
    const once = await accumulated();
    for (const [name, gradient] of Object.entries(fixture.gradients)) {
      // The rotary embedding as one node costs accuracy here: the largest error is 3.2e-5, and 2.1e-5 if the rotation is composed of
      // products and sums. The node alone is within 6e-8 of double precision.
      expectNumbers(once[name]!, [gradient].flat(9) as number[], name, 4e-5);
    }
    await training.forwardBackward(sequences, coefficients);
    const twice = await accumulated();
    for (const name of Object.keys(once)) {
      expectNumbers(
        twice[name]!,
        once[name]!.map((x) => 2 * x),
        name,
      );
    }
  });

  it('move the parameters by one step of Adam, and are reset to 0', async () => {
    const names = Object.keys(policy);
    const before = await engine.read(names.map((name) => policy[name]!));
    const gradients = await accumulated();
    const flat = names.flatMap((name) => [...gradients[name]!]);
    const { gradientNorm } = await training.optimStep(0.01, 0.5);
    expect(gradientNorm).toBeCloseTo(Math.hypot(...flat), 3);
    const after = await engine.read(names.map((name) => policy[name]!));
    for (const [i, name] of names.entries()) {
      // Adam's first step is −lr · g / (|g| + ε), with the clipped gradient g.
      const wanted = Float32Array.from(before[i]!.data, (x, j) => {
        const g = (gradients[name]![j]! * 0.5) / gradientNorm;
        return x - (0.01 * g) / (Math.abs(g) + 1e-8);
      });
      expectNumbers(after[i]!.data, wanted, name, 2e-4);
    }
    expect((await accumulated())['model.norm.weight']!.every((x) => x === 0)).toBe(true);
  });

  it('agree with finite differences over the tokens of a longer completion', async () => {
    const sequence = { prompt: Int32Array.of(1, 2), completion: Int32Array.of(3, 4, 5, 6) };
    const factors = { logProb: Float32Array.of(1, -2, 0.5, 0), kl: 0.7, reverseKl: -0.3 };
    await training.forwardBackward([sequence], [factors]);
    const name = 'model.layers.1.self_attn.k_proj.weight';
    const gradient = (await accumulated())[name]!;
    const [value] = await engine.read([policy[name]!]);
    const valueAt = async (index: number, change: number) => {
      const data = Float32Array.from(value!.data);
      data[index]! += change;
      await engine.write(policy[name]!, { shape: value!.shape, data });
      const [score] = await training.score([sequence], { policy: true, kl: true, reverseKl: true });
      const sum = (values: Float32Array, by: (t: number) => number) =>
        values.reduce((total, x, t) => total + x * by(t), 0);
      return (
        sum(score!.logProb!, (t) => factors.logProb[t]!) +
        sum(score!.kl!, () => factors.kl) +
        sum(score!.reverseKl!, () => factors.reverseKl)
      );
    };
    for (const index of [0, 17, 63, 100]) {
      const slope = ((await valueAt(index, 1e-2)) - (await valueAt(index, -1e-2))) / 2e-2;
      expect(Math.abs(slope - gradient[index]!)).toBeLessThan(2e-3 * Math.max(1, Math.abs(slope)));
    }
    await engine.write(policy[name]!, value!);
  });
});

describe('wrong sequences and coefficients are refused before anything is added', () => {
  const good = { prompt: Int32Array.of(1), completion: Int32Array.of(2) };
  it.each([
    [{ ...good, completion: new Int32Array(0) }, {}, /sequence 0: the completion is empty/],
    [{ ...good, prompt: new Int32Array(32) }, {}, /33 tokens do not fit the context length of 32/],
    [{ ...good, prompt: Int32Array.of(19) }, {}, /token 19 is outside of the vocabulary of 19/],
    [good, { logProb: new Float32Array(2) }, /2 numbers for a completion of 1 tokens/],
    [good, { kl: Number.NaN }, /the coefficient of kl is NaN/],
  ])('%o %o', async (sequence, factors, message) => {
    const before = await accumulated();
    await expect(training.forwardBackward([sequence], [factors])).rejects.toThrow(message);
    expect(await accumulated()).toEqual(before);
  });
});
