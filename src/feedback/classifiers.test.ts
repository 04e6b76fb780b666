import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import type { Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import type { FeedbackClassifier } from './classifier.js';
import { createFeedbackRegistry } from './registry.js';

beforeAll(() => tf.setBackend('cpu'));

type Rows = readonly (readonly number[])[];

function create(name: string, settings: object = {}, samples = 4): FeedbackClassifier {
  const definition = createFeedbackRegistry().get(name);
  return definition.create(definition.settings.parse(settings), samples);
}

interface Verdict {
  readonly accept: number[][];
  readonly reject: number[][];
}

/** The weights for evaluations [N, B]. */
function classify(
  classifier: FeedbackClassifier,
  evaluation: Rows,
  { mask, baseline }: { mask?: Rows; baseline?: readonly number[] } = {},
): Verdict {
  return tf.tidy(() => {
    const values = tf.tensor2d(evaluation as number[][], undefined, 'float32');
    const feedback = classifier.classify!({
      evaluation: values,
      mask:
        mask === undefined ? tf.ones<tf.Rank.R2>(values.shape) : tf.tensor2d(mask as number[][], undefined),
      baseline: tf.tensor1d((baseline ?? evaluation[0].map(() => 0)) as number[], 'float32'),
      samples: values,
      contexts: values,
    });
    const rows = (weights: Tensor) => (weights as Tensor2D).arraySync();
    return { accept: rows(feedback.accept), reject: rows(feedback.reject) };
  });
}

/** The same for one context, as `a`, `r` or `-` for each sample. */
function labels(
  classifier: FeedbackClassifier,
  evaluation: readonly number[],
  options: { mask?: readonly number[]; baseline?: number } = {},
): string {
  const { accept, reject } = classify(
    classifier,
    evaluation.map((f) => [f]),
    {
      mask: options.mask?.map((m) => [m]),
      baseline: options.baseline === undefined ? undefined : [options.baseline],
    },
  );
  const words = evaluation.map((_, i) => `${accept[i][0] === 1 ? 'a' : ''}${reject[i][0] === 1 ? 'r' : ''}`);
  for (const weight of [...accept.flat(), ...reject.flat()]) expect([0, 1]).toContain(weight);
  return words.map((word) => word || '-').join('');
}

describe('top-k', () => {
  it('accepts the best k and rejects the worst m', () => {
    expect(labels(create('top-k'), [3, 1, 4, 2])).toBe('arar');
    expect(labels(create('top-k', { accept: 1, reject: 2 }, 5), [-3, 9, 0, -4, 2])).toBe('ra-r-');
    expect(labels(create('top-k', { accept: 0, reject: 1 }), [1, 2, 3, 4])).toBe('r---');
    expect(labels(create('top-k', { accept: 1, reject: 0 }), [1, 2, 3, 4])).toBe('---a');
  });

  it('gives no feedback where only the position decides between accepted and rejected', () => {
    expect(labels(create('top-k', { accept: 1, reject: 1 }), [7, 7, 7, 7])).toBe('----');
    expect(labels(create('top-k'), [3, 5, 3, 1])).toBe('-a-r');
    expect(labels(create('top-k'), [5, 5, 5, 1])).toBe('---r');
    expect(labels(create('top-k'), [5, 1, 1, 1])).toBe('a---');
    // Equals on one side of the boundary are judged alike, or the first of them is chosen.
    expect(labels(create('top-k'), [5, 5, 1, 1])).toBe('aarr');
    expect(labels(create('top-k', { accept: 1, reject: 1 }), [7, 7, 7, 1])).toBe('a--r');
    expect(labels(create('top-k'), [3, 3, 3, 99], { mask: [1, 1, 1, 0] })).toBe('----');
    expect(labels(create('median'), [2, 2, 2, 2])).toBe('----');
    expect(labels(create('median'), [4, 2, 2, 1])).toBe('a--r');
  });

  it('keeps the best accepted and rejects what is left where a context has fewer samples', () => {
    const classifier = create('top-k');
    expect(labels(classifier, [1, 2, 3, 99], { mask: [1, 1, 1, 0] })).toBe('raa-');
    expect(labels(classifier, [1, 99, 3, 99], { mask: [1, 0, 1, 0] })).toBe('a-a-');
    expect(labels(classifier, [99, 99, 99, 1], { mask: [0, 0, 0, 1] })).toBe('---a');
    expect(labels(classifier, [1, 2, 3, 4], { mask: [0, 0, 0, 0] })).toBe('----');
  });

  it('refuses to make samples both', () => {
    expect(() => create('top-k', { accept: 3, reject: 2 }, 4)).toThrow(ConfigError);
    expect(() => create('top-k', { accept: 3, reject: 2 }, 4)).toThrow(
      /^feedback: top-k accepts 3 and rejects 2 of 4 samples: .*raise learner\.samples to 5$/,
    );
    expect(() => create('top-k', { accept: 3, reject: 2 }, 5)).not.toThrow();
  });

  it.each([
    // N, what is set, what is accepted and rejected of N samples from the best to the worst.
    [8, {}, 'aa----rr'],
    [4, {}, 'aarr'],
    [3, {}, 'a-r'],
    [2, {}, 'ar'],
    [1, {}, '-'],
    [4, { accept: 3 }, 'aaar'],
    [4, { reject: 3 }, 'arrr'],
    [3, { accept: 0 }, '--r'],
    [2, { accept: 2 }, 'aa'],
  ])('of %i samples, with %o, takes as many as there are', (samples, settings, expected) => {
    const classifier = create('top-k', settings, samples);
    expect(
      labels(
        classifier,
        [...Array(samples).keys()].map((i) => -i),
      ),
    ).toBe(expected);
    const { accepts, rejects } = classifier.provides;
    expect([accepts, rejects]).toEqual([expected.includes('a'), expected.includes('r')]);
  });

  it('refuses to accept more than there are', () => {
    expect(() => create('top-k', { accept: 3 }, 2)).toThrow(
      /accepts 3 and rejects 0 of 2 samples: there are too few samples/,
    );
  });

  it('says what it provides and which share it rejects', () => {
    expect(create('top-k').provides).toEqual({ accepts: true, rejects: true });
    expect(create('top-k', { reject: 0 }).provides).toEqual({ accepts: true, rejects: false });
    expect(create('top-k', { accept: 0 }).provides).toEqual({ accepts: false, rejects: true });
    expect(create('top-k', { reject: 1 }).rejectShare?.(4)).toBe(0.25);
  });
});

describe('median', () => {
  it('halves an even number of samples', () => {
    expect(labels(create('median'), [3, 1, 4, 2])).toBe('arar');
  });

  it('leaves the middle of an odd number out', () => {
    expect(labels(create('median'), [3, 1, 4, 2, 5], {})).toBe('-rara');
    expect(labels(create('median'), [1])).toBe('-');
  });

  it('counts only the samples that are there', () => {
    expect(labels(create('median'), [9, 1, 2, 3], { mask: [0, 1, 1, 1] })).toBe('-r-a');
    expect(labels(create('median'), [9, 1, 2, -9], { mask: [0, 1, 1, 0] })).toBe('-ra-');
  });

  it('rejects the share that it says', () => {
    for (const n of [1, 2, 3, 4, 5, 20]) {
      const verdict = labels(create('median', {}, n), [...Array(n).keys()]);
      expect([...verdict].filter((word) => word === 'r').length / n).toBe(create('median').rejectShare?.(n));
    }
  });
});

describe('threshold', () => {
  it('accepts at the value and above', () => {
    expect(labels(create('threshold', { value: 0.5 }), [0.5, 0.4999, 3, -1])).toBe('arar');
    expect(labels(create('threshold', { value: -2 }), [-1, -3, 0, 0], { mask: [1, 1, 1, 0] })).toBe('ara-');
  });

  it('must be given the value', () => {
    expect(() => create('threshold')).toThrow(/value/);
  });
});

describe('value-baseline', () => {
  it('judges nothing by a rounding error of the value', () => {
    const f = Math.fround(1234.5678);
    expect(labels(create('value-baseline'), [f, f, f, f], { baseline: f * (1 + 2e-7) })).toBe('----');
    expect(labels(create('value-baseline'), [f, f + 0.01, f, f], { baseline: f })).toBe('-a--');
  });

  it("accepts above the context's value and rejects below it", () => {
    const { accept, reject } = classify(
      create('value-baseline'),
      [
        [1, 1],
        [2, 2],
        [3, 3],
      ],
      { baseline: [2, 2.5] },
    );
    expect(accept).toEqual([
      [0, 0],
      [0, 0],
      [1, 1],
    ]);
    expect(reject).toEqual([
      [1, 1],
      [0, 1],
      [0, 0],
    ]);
  });
});

const all: [string, object][] = [
  ['top-k', { accept: 2, reject: 1 }],
  ['median', {}],
  ['threshold', { value: 0.25 }],
  ['value-baseline', {}],
];

describe.each(all)('%s', (name, settings) => {
  it('does not depend on the order of the samples', () => {
    const values = fc.uniqueArray(fc.integer({ min: -50, max: 50 }), { minLength: 4, maxLength: 9 });
    const samples = values.chain((f) =>
      fc.record({
        f: fc.constant(f),
        mask: fc.array(fc.constantFrom(0, 1), { minLength: f.length, maxLength: f.length }),
        order: fc.shuffledSubarray([...f.keys()], { minLength: f.length, maxLength: f.length }),
        baseline: fc.integer({ min: -50, max: 50 }),
      }),
    );
    fc.assert(
      fc.property(samples, ({ f, mask, order, baseline }) => {
        const classifier = create(name, settings, f.length);
        const straight = labels(classifier, f, { mask, baseline });
        const shuffled = labels(
          classifier,
          order.map((i) => f[i]),
          { mask: order.map((i) => mask[i]), baseline },
        );
        expect(shuffled).toBe(order.map((i) => straight[i]).join(''));
        // Never both, never where there is no sample.
        expect(straight).toHaveLength(f.length);
        for (const [i, there] of mask.entries()) if (there === 0) expect(straight[i]).toBe('-');
      }),
      { numRuns: 60 },
    );
  });

  it('judges each context by itself', () => {
    const classifier = create(name, settings, 4);
    const [one, other] = [
      [3, -1, 0.5, 2],
      [-7, 30, 1, 0],
    ];
    const both = classify(
      classifier,
      one.map((f, i) => [f, other[i]]),
    );
    for (const [column, f] of [one, other].entries()) {
      const alone = classify(
        classifier,
        f.map((value) => [value]),
      );
      expect(both.accept.map((row) => row[column])).toEqual(alone.accept.map(([weight]) => weight));
      expect(both.reject.map((row) => row[column])).toEqual(alone.reject.map(([weight]) => weight));
    }
  });

  it('gives 0 outside the mask and does not let garbage there change the rest', () => {
    const classifier = create(name, settings, 5);
    const mask = [1, 1, 0, 1, 1];
    const clean = labels(classifier, [3, -1, 0, 0.5, 2], { mask });
    for (const garbage of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      expect(labels(classifier, [3, -1, garbage, 0.5, 2], { mask })).toBe(clean);
    }
    expect(clean[2]).toBe('-');
  });
});

describe('label', () => {
  it('takes signs as labels and their size as weights', () => {
    const { accept, reject } = classify(
      create('label'),
      [
        [1, -0.25],
        [0, 3],
        [-1, Number.NaN],
      ] as Rows,
      {
        mask: [
          [1, 1],
          [1, 1],
          [1, 0],
        ],
      },
    );
    expect(accept).toEqual([
      [1, 0],
      [0, 1],
      [0, 0],
    ]);
    expect(reject).toEqual([
      [0, 0.25],
      [0, 0],
      [1, 0],
    ]);
  });
});
