import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPair, disagreement, integers, normal, type Pair } from '../../test/engine/agreement.js';
import type { Engine } from './engine.js';
import { int32Result } from './host-tensors.js';
import { overParts, type PartResults } from './parts.js';
import type { NamedHostTensors, NamedTensors, Scalar, Variable } from './tensors.js';
import * as tf from './tf.js';

const [B, D, V] = [12, 6, 9];
const inputs = {
  tokens: integers([B, 3], ...Array.from({ length: 3 * B }, (_, i) => (i * 5 + 2) % V)),
  x: normal('x', B, D),
};

let pair: Pair;
beforeAll(async () => {
  pair = await createPair();
});
afterAll(() => pair.dispose());

/**
 * The gradients of a model whose embedding is also its output layer, with one of each kind of gradient: of products, of a gather, of both
 * together, of rows, and 0; and results for each example.
 */
function gradientsOf(engine: Engine, name: string) {
  const variable = (label: string, ...shape: number[]) =>
    engine.variable(`${name} ${label}`, normal(label, ...shape));
  const variables: Record<string, Variable> = {
    embedding: variable('embedding', V, D),
    left: variable('left', D, D),
    right: variable('right', D, D),
    scale: variable('scale', D),
    unused: variable('unused', 2, 2),
  };
  return (parts: number) =>
    engine.jit(`${name} in ${parts}`, (all: { readonly tokens: tf.Tensor2D; readonly x: tf.Tensor2D }) => {
      const { sums, rows } = overParts(all, parts, ({ tokens, x }) => {
        const { embedding, left, right, scale, unused } = variables as Record<string, Variable>;
        let perExample: tf.Tensor = x;
        const { value, grads } = tf.variableGrads(() => {
          const embedded = tf.sum(tf.gather(embedding!, tokens as tf.Tensor), 1);
          const hidden = tf.tanh(tf.matMul(tf.add(embedded, x), left!));
          const next = tf.mul(tf.matMul(hidden, right!, false, true), scale!);
          const logits = tf.matMul(next, embedding!, false, true);
          perExample = tf.keep(tf.logSumExp(logits, -1));
          return tf.sum(tf.add(perExample, tf.mul(tf.sum(unused!), 0))) as Scalar;
        }, Object.values(variables));
        const gradients = Object.entries(variables).map(([key, { name }]) => [key, grads[name]!]);
        const sums: NamedTensors = { ...Object.fromEntries(gradients), value, ten: tf.sum(tf.mul(x, 0)) };
        const last = tf.slice(tokens, [0, 2], [-1, 1]);
        const results = { perExample: tf.clone(perExample), last, ones: tf.ones([tokens.shape[0], 2]) };
        perExample.dispose();
        return { sums, rows: results };
      });
      return { ...sums, ...rows, last: int32Result(rows.last) };
    });
}

describe('a batch in parts', () => {
  it.each([1, 2, 3, 12])(
    'gives the same in %i parts as whole, traced or operation by operation',
    async (parts) => {
      const whole = (await gradientsOf(pair.eager, `eager ${parts}`)(1).run(inputs)) as NamedHostTensors;
      for (const engine of [pair.eager, pair.traced]) {
        const found = await gradientsOf(engine, `${engine.name} ${parts}`)(parts).run(inputs);
        expect(disagreement(whole, found as NamedHostTensors)).toBeUndefined();
      }
    },
  );

  it('may be a part of a larger one', async () => {
    const fn = (all: NamedTensors) => {
      const { sums } = overParts(all, 2, (half) =>
        overParts(half, 3, ({ x }) => ({ sums: { squares: tf.sum(tf.square(x!)) }, rows: {} })),
      );
      return sums;
    };
    const { eager, traced } = await pair.run(fn, { x: inputs.x });
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it('may return one value both as a sum and as rows', async () => {
    // In a part of one example, a value with a row for each example is its own sum.
    const ofOne = ({ x }: NamedTensors) => {
      const square = tf.square(x!);
      return { sums: { sum: square }, rows: { square } };
    };
    const inParts = pair.traced.jit('sum and rows', (all: NamedTensors) => {
      const { sums, rows } = overParts(all, B, ofOne);
      return { ...sums, ...rows };
    });
    const whole = pair.eager.jit('sum and rows', ({ x }: NamedTensors) => {
      const square = tf.square(x!);
      return { sum: tf.sum(square, 0, true), square };
    });
    expect(
      disagreement(await whole.run({ x: inputs.x }), await inParts.run({ x: inputs.x })),
    ).toBeUndefined();
  });

  it('may have a sum that broadcasts two products', async () => {
    const { eager, traced } = await pair.run(
      (all) =>
        overParts(all, 4, ({ x, y }) => {
          const [column, row] = [tf.matMul(x!, y!, true), tf.matMul(y!, x!, true)];
          // [D, 1] + [1, D] is [D, D].
          return { sums: { sum: tf.add(column, row) }, rows: {} };
        }).sums,
      { x: inputs.x, y: normal('y', B, 1) },
    );
    expect(disagreement(eager, traced)).toBeUndefined();
  });

  it('may scale and shift a normalized variable by numbers of the part', async () => {
    const results: NamedHostTensors[] = [];
    for (const engine of [pair.eager, pair.traced]) {
      const table = engine.variable('table', normal('table', 5, D));
      const fn = engine.jit('normalized', (all: NamedTensors) => {
        const { sums } = overParts(all, 3, ({ x }) => {
          const { mean, variance } = tf.moments(table, -1, true);
          const normal = tf.mul(tf.sub(table, mean), tf.rsqrt(tf.add(variance, 1e-5)));
          const [scale, offset] = [tf.sum(x!, 0), tf.sum(tf.square(x!), 0)];
          return { sums: { sum: tf.add(tf.mul(normal, scale), offset) }, rows: {} };
        });
        return sums;
      });
      results.push(await fn.run({ x: inputs.x }));
    }
    expect(disagreement(results[0]!, results[1]!)).toBeUndefined();
  });

  it('may depend on values that are computed once, and change variables afterwards', async () => {
    const results: NamedHostTensors[] = [];
    for (const engine of [pair.eager, pair.traced]) {
      const total = engine.variable('total', normal('total', D));
      const step = engine.jit('step', ({ x }: { readonly x: tf.Tensor2D }) => {
        const factor = tf.exp(total);
        const { sums } = overParts({ x }, 4, (part) => ({
          sums: { sum: tf.sum(tf.mul(part.x, factor), 0) },
          rows: {},
        }));
        total.assign(tf.mul(sums.sum, 0.1));
        return {};
      });
      for (let i = 0; i < 3; i++) await step.run({ x: inputs.x });
      const [value] = await engine.read([total]);
      results.push({ total: value! });
    }
    expect(disagreement(results[0]!, results[1]!)).toBeUndefined();
  });
});

/** Every way in which the function of a part is called: whole, in parts, and as a part of a part. */
const ways = [
  ['eager', 1],
  ['eager', 3],
  ['traced', 1],
  ['traced', 3],
  ['traced', 'nested'],
] as const;
type Way = (typeof ways)[number][1];

/** The sums of a batch that is split in one of these ways. */
function sumsOf<S extends NamedTensors>(
  all: NamedTensors,
  way: Way,
  fn: (part: NamedTensors) => PartResults<S, NamedTensors>,
): S {
  if (way !== 'nested') return overParts(all, way, fn).sums;
  return overParts(all, 2, (half) => ({ sums: overParts(half, 3, fn).sums, rows: {} })).sums;
}

describe.each(ways)('on the engine that is %s, in parts: %s', (engine, way) => {
  const refusal = (fn: (all: NamedTensors) => NamedTensors) =>
    expect(pair[engine].jit('refused', fn).run({ x: inputs.x })).rejects;

  it.each(['input', 'variable'])('refuses a gradient through the results in the %s', async (of) => {
    const factor = pair[engine].variable(`factor ${of} ${engine} ${way}`, normal('factor', D));
    await refusal(({ x }) => {
      const loss = (at: tf.Tensor) =>
        sumsOf({ x: of === 'input' ? at : x! }, way, (part) => ({
          sums: { sum: tf.sum(tf.mul(part.x!, of === 'input' ? factor : at)) },
          rows: {},
        })).sum;
      const all = (at: tf.Tensor) => tf.add(loss(at), tf.sum(at)) as Scalar;
      return { gradient: tf.grad(all)(of === 'input' ? x! : factor) };
    }).toThrow('overParts: a gradient was taken through its results. Take the gradient inside');
  });

  it('takes gradients inside', async () => {
    const square = (x: tf.Tensor) => tf.sum(tf.square(x)) as Scalar;
    const fn = (all: NamedTensors) =>
      sumsOf(all, way, ({ x }) => ({ sums: { gradient: tf.sum(tf.grad(square)(x!), 0) }, rows: {} }));
    const found = await pair[engine].jit('inside', fn).run({ x: inputs.x });
    const whole = await pair.eager
      .jit('whole', ({ x }: NamedTensors) => ({ gradient: tf.mul(tf.sum(x!, 0), 2) }))
      .run({ x: inputs.x });
    expect(disagreement(whole, found)).toBeUndefined();
  });

  it('refuses rows that are not one for each example', async () => {
    for (const shape of [[], [5, D]]) {
      await refusal((all) =>
        sumsOf(all, way, () => ({ sums: { one: tf.scalar(1) }, rows: { row: tf.zeros(shape) } })),
      ).toThrow(`overParts, rows 'row': the shape [${shape}] does not start with`);
    }
  });

  it('refuses a sum of booleans', async () => {
    await refusal((all) =>
      sumsOf(all, way, ({ x }) => ({ sums: { any: tf.any(tf.greater(x!, 0)) }, rows: {} })),
    ).toThrow("overParts, sum 'any': is bool, which cannot be added up");
  });

  it('refuses results that are not tensors', async () => {
    const none = undefined as unknown as tf.Tensor;
    await refusal((all) => sumsOf(all, way, () => ({ sums: { none }, rows: {} }))).toThrow(
      "overParts, sum 'none': is not a tensor",
    );
    await refusal((all) => sumsOf(all, way, () => ({ sums: {}, rows: { none } }))).toThrow(
      "overParts, rows 'none': is not a tensor",
    );
  });

  it('refuses to assign to a variable or to make one', async () => {
    const name = `assigned ${engine} ${way}`;
    const variable = pair[engine].variable(name, normal('assigned', D));
    const result = ({ x }: NamedTensors) => ({ sums: { sum: tf.sum(x!) }, rows: {} });
    await refusal((all) =>
      sumsOf(all, way, (part) => {
        variable.assign(tf.zeros([D]));
        return result(part);
      }),
    ).toThrow(`overParts, variable '${name}': was assigned to in the function of a part`);
    await refusal((all) =>
      sumsOf(all, way, (part) => {
        tf.variable(tf.zeros([D]), true, `${name}, made`);
        return result(part);
      }),
    ).toThrow(`overParts, variable '${name}, made': was made in the function of a part`);
  });
});

describe('wrong use is refused', () => {
  const sumOf = (parts: number) => (all: NamedTensors) =>
    overParts(all, parts, ({ x }) => ({ sums: { sum: tf.sum(x!) }, rows: {} })).sums;

  it('a number of parts that does not divide the batch', async () => {
    await expect(pair.traced.jit('five', sumOf(5)).run({ x: inputs.x })).rejects.toThrow(
      /input 'x': its shape \[12,6\] cannot be split into 5 parts/,
    );
  });

  it.each([0, -3, 1.5, Number.NaN])('%d as the number of parts', async (parts) => {
    for (const engine of [pair.eager, pair.traced]) {
      await expect(engine.jit('number', sumOf(parts)).run({ x: inputs.x })).rejects.toThrow(
        `overParts: the number of parts is ${parts}. Give a whole number of at least 1`,
      );
    }
  });

  it('a batch without inputs', async () => {
    const none = () => overParts({}, 1, () => ({ sums: { one: tf.scalar(1) }, rows: {} })).sums;
    await expect(pair.eager.jit('none', none).run({})).rejects.toThrow(/overParts: there is no input/);
  });

  it('inputs of different lengths', async () => {
    const other = { x: inputs.x, y: normal('y', 2, D) };
    await expect(pair.eager.jit('lengths', sumOf(2)).run(other)).rejects.toThrow(/input 'y'/);
  });

  it('a tensor of one part that is used outside of it', async () => {
    const leaking = pair.traced.jit('leaking', (all: { readonly x: tf.Tensor2D }) => {
      let inside: tf.Tensor = all.x;
      const { sums } = overParts(all, 2, ({ x }) => {
        inside = x;
        return { sums: { sum: tf.sum(x) }, rows: {} };
      });
      return { sum: tf.add(sums.sum, tf.sum(inside)) };
    });
    await expect(leaking.run({ x: inputs.x })).rejects.toThrow(/a tensor of one part is used outside of it/);
  });
});
