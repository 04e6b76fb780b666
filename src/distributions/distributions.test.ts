import { beforeAll, describe, expect, it } from 'vitest';
import { expectClose, type Numbers, readFixture, tensor } from '../../test/references/read.js';
import { fillNormal, fillUniform, randomKey } from '../core/random-keys.js';
import type { Tensor1D, Tensor2D, Tensor3D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { categoricalFamily } from './categorical.js';
import { createFamily } from './create.js';
import type { Distribution } from './distribution.js';
import { gaussian, gaussianFamily } from './gaussian.js';

/** Results for two distributions p and q; each list of gradients holds those in the parameters of p, then of q. */
interface Compared {
  readonly samples: Numbers;
  readonly logProb: Numbers;
  readonly logProbGradients: Numbers[];
  readonly entropy: Numbers;
  readonly entropyGradients: Numbers[];
  readonly kl: Numbers;
  readonly klGradients: Numbers[];
  readonly reverseKl: Numbers;
  readonly reverseKlGradients: Numbers[];
}

interface Fixture {
  readonly gaussians: (Compared & { readonly p: Numbers[]; readonly q: Numbers[] })[];
  readonly gaussianHeads: {
    readonly settings: { minStddev: number; initialStddev: number };
    readonly outputs: Numbers;
    readonly samples: Numbers;
    readonly mode: Numbers;
    readonly spread: Numbers;
    readonly logProb: Numbers;
    readonly logProbGradients: Numbers[];
  }[];
  readonly categoricals: (Compared & {
    readonly bins: number[];
    readonly p: Numbers;
    readonly q: Numbers;
    readonly mode: Numbers;
    readonly spread: Numbers;
  })[];
}

// Written by test/references/distributions_torch.py.
const fixture = readFixture<Fixture>('distributions_torch');

beforeAll(() => tf.setBackend('cpu'));

/** The whole KL [B] of its parts. */
function whole(parts: Record<string, Tensor2D>): Tensor1D {
  return tf.addN(Object.values(parts).map((part) => tf.sum(part, -1))) as Tensor1D;
}

/** Expects values, and the gradients of their sum in each parameter. */
function expectSame(
  label: string,
  of: (...parameters: tf.Tensor[]) => tf.Tensor,
  parameters: readonly Numbers[],
  values: Numbers,
  gradients: readonly Numbers[],
): void {
  const tensors = parameters.map((numbers) => tensor<tf.Tensor>(numbers));
  expectClose(of(...tensors), values, label);
  const found = tf.grads((...given: tf.Tensor[]) => tf.sum(of(...given)))(tensors);
  for (const [i, gradient] of found.entries()) {
    expectClose(gradient, gradients[i], `gradient of ${label} in parameter ${i}`);
  }
}

/** Compares everything about p and q with torch; `make` builds one of its parameters. */
function compare(
  expected: Compared,
  p: readonly Numbers[],
  q: readonly Numbers[],
  samples: Tensor3D,
  make: (parameters: readonly tf.Tensor[]) => Distribution,
): void {
  const pair = (given: tf.Tensor[]) => [make(given.slice(0, p.length)), make(given.slice(p.length))];
  const kl = (...given: tf.Tensor[]) => {
    const [one, other] = pair(given);
    return whole(one.kl(other));
  };
  const reverseKl = (...given: tf.Tensor[]) => {
    const [one, other] = pair(given);
    return whole(other.reverseKl(one));
  };
  const logProb = (...given: tf.Tensor[]) => make(given).logProb(samples);
  expectSame('log-prob', logProb, p, expected.logProb, expected.logProbGradients);
  expectSame('KL(p ‖ q)', kl, [...p, ...q], expected.kl, expected.klGradients);
  expectSame('KL(q ‖ p)', reverseKl, [...p, ...q], expected.reverseKl, expected.reverseKlGradients);
  expectClose(make(p.map((x) => tensor(x))).entropy(), expected.entropy, 'entropy');
}

describe('the diagonal Gaussian', () => {
  const of = ([mean, stddev]: readonly tf.Tensor[]) => gaussian(mean as Tensor2D, stddev as Tensor2D);

  it.each(fixture.gaussians)("has torch's log-probs, entropies, KLs and their gradients", (expected) => {
    compare(expected, expected.p, expected.q, tensor(expected.samples), of);
    const entropy = (stddev: tf.Tensor) => of([tensor(expected.p[0]), stddev]).entropy();
    expectSame('entropy', entropy, [expected.p[1]], expected.entropy, [expected.entropyGradients[1]]);
  });

  it('divides its KL into a part due to the means and a part due to the deviations', () => {
    const make = (mean: number, stddev: number) => gaussian(tf.tensor2d([[mean]]), tf.tensor2d([[stddev]]));
    const sameDeviation = make(0, 0.5).kl(make(1, 0.5));
    expectClose(sameDeviation.mean, [[2]], 'mean part');
    expectClose(sameDeviation.covariance, [[0]], 'covariance part');
    const sameMean = make(1, 0.5).kl(make(1, 1));
    expectClose(sameMean.mean, [[0]], 'mean part');
    expectClose(sameMean.covariance, [[(0.25 - 1 - Math.log(0.25)) / 2]], 'covariance part');
  });

  it('measures the decoupled mean by its own deviation', () => {
    const make = (mean: number, stddev: number) => gaussian(tf.tensor2d([[mean]]), tf.tensor2d([[stddev]]));
    const [p, q] = [make(0, 0.5), make(1, 2)];
    expectClose(p.decoupledKl!(q).mean, [[2]], 'mean part');
    expectClose(p.decoupledKl!(q).covariance, p.kl(q).covariance.arraySync(), 'covariance part');
    const samples = tf.tensor3d([[[0.3]], [[-2]]]);
    const { mean, covariance } = q.decoupledLogProb!(samples, p);
    expectClose(mean, make(1, 0.5).logProb(samples).arraySync(), "the mean's");
    expectClose(covariance, make(0, 2).logProb(samples).arraySync(), "the deviation's");
  });

  it('samples with its mean and deviation', () => {
    const n = 20_000;
    const noise = tf.tensor3d(fillNormal(randomKey(0), new Float32Array(2 * n)), [n, 1, 2]);
    const samples = gaussian(tf.tensor2d([[1, -2]]), tf.tensor2d([[0.5, 2]])).sample(noise);
    const { mean, variance } = tf.moments(samples, 0);
    expectClose(mean, [[1, -2]], 'mean', 0.05);
    expectClose(tf.sqrt(variance), [[0.5, 2]], 'deviation', 0.05);
  });
});

describe('the Gaussian head', () => {
  it.each(fixture.gaussianHeads)('makes mean and deviation of its outputs: $settings', (expected) => {
    const family = gaussianFamily(expected.settings);
    const samples = tensor<Tensor3D>(expected.samples);
    const make = (outputs: tf.Tensor) => family.create(outputs as Tensor2D, samples.shape[2]);
    const head = make(tensor(expected.outputs));
    expectClose(head.mode(), expected.mode, 'mode');
    expectClose(head.spread(), expected.spread, 'spread');
    const logProb = (outputs: tf.Tensor) => make(outputs).logProb(samples);
    expectSame('log-prob', logProb, [expected.outputs], expected.logProb, expected.logProbGradients);
    expect(head.parameters.shape[1]).toBe(family.parameterCount(samples.shape[2]));
    const sizes = Object.entries(head.kl(head)).map(([part, values]) => [part, values.shape[1]]);
    expect(Object.fromEntries(sizes)).toEqual(family.klParts(samples.shape[2]));
  });

  it('starts at its initial deviation and never falls below its floor', () => {
    const family = gaussianFamily({ minStddev: 0.1, initialStddev: 0.6 });
    const head = family.create(tf.tensor2d([[0, 0, 0, -1e4]]), 2);
    const deviations = (head.sample(tf.ones([1, 1, 2])) as tf.Tensor).sub(head.mode());
    expectClose(deviations, [[[0.6, 0.1]]], 'deviations');
    expectClose(family.create(tf.tensor2d([[1e4, -1e4, 0, 0]]), 2).mode(), [[1, -1]], 'mode');
  });
});

describe('the categorical head', () => {
  it.each(fixture.categoricals)("has torch's numbers and gradients: $bins bins", (expected) => {
    const indices = tensor<Tensor3D>(expected.samples);
    const actions = indices.shape[2];
    const family = categoricalFamily({ bins: expected.bins });
    // A single bin is at 0, of more the first is at −1.
    const width = expected.bins.map((count) => (count > 1 ? 2 / (count - 1) : 0));
    const first = expected.bins.map((count) => (count > 1 ? -1 : 0));
    const samples = tf.add(tf.mul(indices, width), first) as Tensor3D;
    const make = ([logits]: readonly tf.Tensor[]) => family.create(logits as Tensor2D, actions);
    compare(expected, [expected.p], [expected.q], samples, make);
    const entropy = (logits: tf.Tensor) => make([logits]).entropy();
    expectSame('entropy', entropy, [expected.p], expected.entropy, expected.entropyGradients);
    const p = make([tensor(expected.p)]);
    expectClose(p.mode(), expected.mode, 'mode');
    expectClose(p.spread(), expected.spread, 'spread');
    expect(p.parameters.shape[1]).toBe(family.parameterCount(actions));
    expect(family.klParts(actions)).toEqual({ categorical: p.kl(p).categorical.shape[1] });
  });

  it('samples each bin as often as it is likely', () => {
    const n = 20_000;
    const noise = tf.tensor3d(fillUniform(randomKey(1), new Float32Array(n)), [n, 1, 1]);
    const probabilities = [0.1, 0.6, 0.3];
    const head = categoricalFamily({ bins: [3] }).create(tf.tensor2d([probabilities.map(Math.log)]), 1);
    const samples = head.sample(noise).dataSync();
    const shares = [-1, 0, 1].map((value) => samples.filter((sample) => sample === value).length / n);
    expectClose(tf.tensor1d(shares), probabilities, 'shares', 0.02);
  });

  it('samples only bins that exist, at the ends of the noise too', () => {
    const head = categoricalFamily({ bins: [3] }).create(tf.tensor2d([[0.3, 0.1, -50]]), 1);
    const noise = tf.tensor3d([[[2 ** -24]], [[1 - 2 ** -24]]]);
    const [low, high] = head.sample(noise).dataSync();
    expect(low).toBe(-1);
    expect([0, 1]).toContain(high);
  });

  it('takes an action for the nearest bin', () => {
    const head = categoricalFamily({ bins: [3] }).create(tf.tensor2d([[1, 2, 3]]), 1);
    const logProb = (values: number[]) => head.logProb(tf.tensor3d(values, [3, 1, 1])).arraySync();
    expect(logProb([-1.4, 0.2, 0.9])).toEqual(logProb([-1, 0, 1]));
  });
});

describe('a categorical with a uniform share', () => {
  const family = categoricalFamily({ bins: [3, 2], uniformShare: 0.06 });
  const logits = [50, 0, -50, 1, 3, 9];
  const head = (values: number[] = logits) => family.create(tf.tensor2d([values]), 2);

  it('keeps every value as likely as its part of the share', () => {
    const actions = tf.tensor3d([[[-1, -1]], [[0, -1]], [[1, -1]], [[-1, 1]], [[0, 1]], [[1, 1]]]);
    const second = 0.94 / (1 + Math.exp(2)) + 0.03;
    const first = [0.96, 0.02, 0.02];
    const expected = [second, 1 - second].flatMap((p) => first.map((q) => [Math.log(p * q)]));
    expectClose(head().logProb(actions), expected, 'log-probs', 1e-5);
    expectClose(tf.sum(tf.exp(head().logProb(actions))), 1, 'sum', 1e-5);
  });

  it('has finite gradients for impossible and for hopeless values', () => {
    const loss = (x: tf.Tensor) => {
      const own = head([...x.dataSync()]);
      const from = family.create(x as Tensor2D, 2);
      return tf.add(tf.sum(own.kl(from).categorical), tf.sum(from.entropy()));
    };
    const values = [
      ...tf
        .grad(loss)(tf.tensor2d([logits]))
        .dataSync(),
    ];
    expect(values.every(Number.isFinite)).toBe(true);
    expect(values[5]).toBe(0);
  });

  it('is held by the KL to what it keeps likely, however unlikely its softmax has made it', () => {
    const at = (x: tf.Tensor) => family.create(x as Tensor2D, 1);
    // The softmax of the first dimension is 1 at its first value, and the mixture 0.96, 0.02, 0.02; the second one is even.
    const lost = tf.tensor2d([[60, 0, 0, 0, 0, 0]]);
    const gradient = tf.grad((x: tf.Tensor) => tf.sum(at(lost).kl(at(x)).categorical))(lost);
    expectClose(tf.slice(gradient, [0, 0], [1, 3]), [[0.04, -0.02, -0.02]], 'gradient', 1e-5);
    const divergence = 0.96 * Math.log(0.96) + 0.04 * (Math.log(0.02) + 60);
    expectClose(at(lost).kl(at(lost)).categorical, [[divergence, 0]], 'KL', 1e-4);
  });

  describe('has a reverse KL to its reference that', () => {
    const mixed = categoricalFamily({ bins: [3, 2], uniformShare: 0.02 });
    const at = (x: tf.Tensor) => mixed.create(x as Tensor2D, 2);
    const reverse = (x: tf.Tensor, reference: tf.Tensor) => at(x).reverseKl(at(reference)).categorical;
    const gradientAt = (x: tf.Tensor, reference: tf.Tensor) =>
      tf.grad((own: tf.Tensor) => tf.sum(reverse(own, reference)))(x);

    it('is 0 at the reference, and so is its gradient', () => {
      for (const values of [
        [0.3, -1, 2, 0.5, 1, 0],
        [60, 0, 0, 0, 30, 0],
      ]) {
        const logits = tf.tensor2d([values]);
        expectClose(reverse(logits, logits), [[0, 0]], 'reverse KL', 1e-7);
        expectClose(gradientAt(logits, logits), [[0, 0, 0, 0, 0, 0]], 'gradient', 1e-6);
      }
    });

    it('is positive elsewhere', () => {
      const reference = tf.tensor2d([[0.3, -1, 2, 0.5, 1, 0]]);
      for (const values of [
        [0.4, -1, 2, 0.6, 1, 0],
        [-3, 4, 0, -9, 9, 0],
        [60, 0, 0, 60, 0, 0],
      ]) {
        for (const one of reverse(tf.tensor2d([values]), reference).dataSync()) {
          expect(one).toBeGreaterThan(1e-5);
        }
      }
    });

    it('brings back a value that the softmax has lost and the reference has not', () => {
      const gradient = gradientAt(tf.tensor2d([[60, 0, 0, 0, 0, 0]]), tf.zeros([1, 6]));
      const each = 0.02 / 3;
      expectClose(tf.slice(gradient, [0, 0], [1, 3]), [[2 * each, -each, -each]], 'gradient', 1e-5);
    });

    it('is the KL of the two policies without a uniform share', () => {
      const plain = categoricalFamily({ bins: [3] });
      const [p, q] = [
        [1, 0, -1],
        [0, 2, 0],
      ].map((values) => plain.create(tf.tensor2d([values]), 1));
      expectClose(p!.reverseKl(q!).categorical, p!.kl(q!).categorical.arraySync(), 'reverse KL');
    });
  });

  it('lists all actions', () => {
    const all = family.allActions(6)!;
    expect(all.shape).toEqual([6, 2]);
    expect([...all.data]).toEqual([-1, -1, -1, 1, 0, -1, 0, 1, 1, -1, 1, 1]);
    expect(family.allActions(5)).toBeUndefined();
    expect([...categoricalFamily({ bins: [1] }).allActions(1)!.data]).toEqual([0]);
    expect(gaussianFamily({ minStddev: 0.1, initialStddev: 0.5 }).allActions(100)).toBeUndefined();
  });
});

it('the head is the one that the settings name', () => {
  const settings = { bins: 5, uniformShare: 0, minStddev: 0.1, initialStddev: 0.5 };
  const made = (head: 'auto' | 'gaussian' | 'categorical', values: number[]) => {
    const { name, noise, parameterCount } = createFamily({ ...settings, head }, values);
    return { name, noise, parameters: parameterCount(values.length) };
  };
  expect(made('gaussian', [0, 0])).toEqual({ name: 'gaussian', noise: 'normal', parameters: 4 });
  expect(made('categorical', [0, 0])).toEqual({ name: 'categorical', noise: 'uniform', parameters: 10 });
  expect(made('auto', [0])).toMatchObject({ name: 'gaussian' });
  expect(made('auto', [4, 2])).toEqual({ name: 'categorical', noise: 'uniform', parameters: 8 });
  // Continuous dimensions in `bins`, together with integers.
  expect(made('auto', [0, 2])).toEqual({ name: 'categorical', noise: 'uniform', parameters: 10 });
  expect(() => made('gaussian', [0, 2])).toThrow(/policy.head: .*integer actions.*auto or categorical/);
});

describe('dimensions with different numbers of values', () => {
  // Dimension 0 has two values, dimension 1 four, dimension 2 a single one; K is 4.
  const bins = [2, 4, 1];
  const logits = [
    [0.2, -0.4, 9, 9, 0.1, 0.5, -0.3, 0.7, 3, 9, 9, 9],
    [1.2, 0.3, 5, 5, -0.1, -0.5, 0.3, 0.2, -2, 5, 5, 5],
  ];
  const family = categoricalFamily({ bins });
  const head = () => family.create(tf.tensor2d(logits), 3);
  /** The probabilities of a context's dimension, by the definition. */
  const probabilities = (context: number, dimension: number) => {
    const own = logits[context].slice(4 * dimension, 4 * dimension + bins[dimension]).map(Math.exp);
    return own.map((e) => e / own.reduce((a, b) => a + b));
  };
  const samples = () =>
    tf.tensor3d([
      [
        [-1, -1 / 3, 0],
        [1, 1, 0],
      ],
    ]);

  it('have the log-probs, entropy and mode of their own values', () => {
    const expected = [
      Math.log(probabilities(0, 0)[0] * probabilities(0, 1)[1]),
      Math.log(probabilities(1, 0)[1] * probabilities(1, 1)[3]),
    ];
    expectClose(head().logProb(samples()), [expected], 'logProb');
    const entropy = [0, 1].map((context) =>
      [0, 1].reduce((sum, d) => sum - probabilities(context, d).reduce((s, p) => s + p * Math.log(p), 0), 0),
    );
    expectClose(head().entropy(), entropy, 'entropy');
    expectClose(
      head().mode(),
      [
        [-1, 1, 0],
        [-1, 1 / 3, 0],
      ],
      'mode',
    );
    expectClose(tf.sum(head().kl(head()).categorical), 0, 'KL to itself');
    expect(Number.isFinite(head().spread().sum().dataSync()[0])).toBe(true);
  });

  it('give no gradient to bins that a dimension does not have, and no NaN', () => {
    const gradient = tf.grad((x: tf.Tensor) => {
      const own = family.create(x as Tensor2D, 3);
      const other = family.create(tf.mul(x, 0.5) as Tensor2D, 3);
      return tf.add(
        tf.sum(own.logProb(samples())),
        tf.add(tf.sum(own.entropy()), tf.sum(own.kl(other).categorical)),
      );
    })(tf.tensor2d(logits));
    const values = Array.from(gradient.dataSync());
    expect(values.every(Number.isFinite)).toBe(true);
    for (const index of [2, 3, 8, 9, 10, 11]) expect(values[index]).toBe(0);
    expect(values[0]).not.toBe(0);
  });

  it('are sampled as often as they are likely, at the ends of the noise too', () => {
    const n = 20_000;
    const noise = tf.tensor3d(fillUniform(randomKey(2), new Float32Array(n * 6)), [n, 2, 3]);
    const drawn = (head().sample(noise) as tf.Tensor3D).arraySync();
    for (const [context, dimension] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]) {
      const count = bins[dimension];
      const shares = Array.from({ length: count }, (_, k) => {
        const value = (2 * k) / (count - 1) - 1;
        return drawn.filter((sample) => Math.abs(sample[context][dimension] - value) < 1e-5).length / n;
      });
      expectClose(tf.tensor1d(shares), probabilities(context, dimension), 'shares', 0.02);
    }
    const last = head().sample(tf.fill([1, 2, 3], 1 - 2 ** -24) as Tensor3D);
    expectClose(tf.slice(last, [0, 0, 0], [1, 1, 3]), [[[1, 1, 0]]], 'the last of each');
  });
});
