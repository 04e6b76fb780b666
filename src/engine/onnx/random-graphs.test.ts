import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPair, disagreement, normal, type Pair } from '../../../test/engine/agreement.js';
import type { NamedTensors, Scalar, Tensor } from '../tensors.js';
import * as tf from '../tf.js';

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

/**
 * A random graph is a list of steps; each applies an operation to two earlier tensors and appends the result. All tensors have
 * rank 2 and sizes from a small set, so that broadcasts and products are common. The operations keep values bounded and away
 * from points at which a derivative is discontinuous.
 */
type Step = readonly [operation: number, left: number, right: number];

const squash = (x: Tensor): Tensor => tf.tanh(x);
const sizes = [1, 3, 4];

const operations: readonly ((a: Tensor, b: Tensor) => Tensor | undefined)[] = [
  (a, b) => (fits(a, b) ? tf.add(a, b) : undefined),
  (a, b) => (fits(a, b) ? tf.sub(a, b) : undefined),
  (a, b) => (fits(a, b) ? tf.mul(a, b) : undefined),
  (a, b) => (fits(a, b) ? tf.div(a, tf.add(tf.square(b), 1)) : undefined),
  (a, b) => (same(a, b) ? tf.minimum(a, tf.add(b, 0.01)) : undefined),
  (a, b) =>
    same(a, b)
      ? tf.where(tf.tensor1d([true, false, true, true].slice(0, a.shape[1]), 'bool'), a, b)
      : undefined,
  (a, b) => (a.shape[1] === b.shape[0] ? squash(tf.matMul(a, b)) : undefined),
  (a, b) => (a.shape[0] === b.shape[0] ? squash(tf.matMul(a, b, true)) : undefined),
  (a, b) => (a.shape[1] === b.shape[1] ? squash(tf.matMul(a, b, false, true)) : undefined),
  (a, b) =>
    a.shape[1] === b.shape[1]
      ? tf.slice(tf.concat([a, b], 0), [0, 0], a.shape as [number, number])
      : undefined,
  (a) => tf.transpose(a),
  (a) => tf.reshape(a, [a.shape[1]!, a.shape[0]!]),
  (a) => tf.tanh(a),
  (a) => tf.sigmoid(a),
  (a) => tf.softplus(a),
  (a) => tf.elu(a),
  (a) => tf.exp(tf.neg(tf.square(a))),
  (a) => tf.log(tf.add(tf.square(a), 1)),
  (a) => tf.sqrt(tf.add(tf.square(a), 0.5)),
  (a) => tf.softmax(a),
  (a) => tf.logSoftmax(a),
  (a) => tf.sum(a, 0, true),
  (a) => tf.mean(a, 1, true),
  (a) => tf.mean(a, 0, true),
  (a) => tf.logSumExp(a, 1, true),
  (a) => tf.tile(tf.mean(a, 0, true), [3, 1]),
  (a) => tf.clipByValue(a, -0.7, 0.7),
  (a) => tf.mul(tf.onesLike(a), 0.5),
  (a) => tf.mul(a, -2),
  (a) => tf.div(a, 3),
  (a) => tf.gather(a, tf.tensor1d([0, 0, 0], 'int32')),
  (a) => tf.cumsum(a, 1),
  (a) => {
    const centered = tf.sub(a, tf.mean(a, -1, true));
    return tf.mul(centered, tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), 0.1)));
  },
];

function fits(a: Tensor, b: Tensor): boolean {
  return a.shape.every((n, i) => n === b.shape[i] || n === 1 || b.shape[i] === 1);
}

function same(a: Tensor, b: Tensor): boolean {
  return a.shape.every((n, i) => n === b.shape[i]);
}

/** All tensors, the most recent last. */
function build(steps: readonly Step[], start: readonly Tensor[]): Tensor[] {
  const tensors = [...start];
  for (const [operation, left, right] of steps) {
    const pick = (index: number): Tensor => tensors[index % tensors.length]!;
    const made = operations[operation]!(pick(left), pick(right));
    if (made !== undefined && sizes.includes(made.shape[0]!) && sizes.includes(made.shape[1]!))
      tensors.push(made);
  }
  return tensors;
}

const steps = fc.array(fc.tuple(fc.nat(operations.length - 1), fc.nat(30), fc.nat(30)), {
  minLength: 3,
  maxLength: 16,
});

const shapes = { a: [3, 4], b: [4, 3], c: [1, 4], d: [3, 1], e: [3, 3] } as const;
const start = (inputs: NamedTensors): Tensor[] => Object.keys(shapes).map((name) => inputs[name]!);

it('random graphs have the same values and gradients, traced or operation by operation', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(1e6), async (graph, seed) => {
      const inputs = Object.fromEntries(
        Object.entries(shapes).map(([name, shape]) => [name, normal(`${name} ${seed}`, ...shape)]),
      );
      const fn = (named: NamedTensors): NamedTensors => {
        const values = build(graph, start(named));
        const loss = (...tensors: Tensor[]): Scalar => {
          const made = build(graph, tensors);
          return tf.addN(made.map((tensor): Scalar => tf.sum(tf.sin(tensor))));
        };
        const gradients = tf.grads(loss)(start(named));
        return Object.fromEntries([
          ...values.slice(5).map((tensor, i) => [`value ${i}`, tensor]),
          ...gradients.map((tensor, i) => [`gradient ${i}`, tensor]),
        ]);
      };
      const { eager, traced } = await pair.run(fn, inputs);
      expect(disagreement(eager, traced)).toBeUndefined();
    }),
    { numRuns: 60, seed: 20241004 },
  );
});
