import { beforeAll, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import type { Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { classifyChecked, invalidFeedback } from './checked.js';
import { classifyOnHostChecked } from './checked-host.js';
import type { Feedback, FeedbackInput, HostFeedback, HostFeedbackInput } from './classifier.js';

beforeAll(() => tf.setBackend('cpu'));

const provides = { accepts: true, rejects: true };

/** 2 samples of 3 contexts; the last context has one sample. */
function input(): FeedbackInput {
  const mask = tf.tensor2d([
    [1, 1, 1],
    [1, 1, 0],
  ]);
  return {
    evaluation: tf.zeros([2, 3]),
    mask,
    baseline: tf.zeros([3]),
    samples: tf.zeros([2, 3, 1]),
    contexts: tf.zeros([3, 4]),
  };
}

const run = (classify: (given: FeedbackInput) => unknown) =>
  classifyChecked('mine', { provides, classify: classify as () => Feedback }, input());

const good = (): Tensor2D => tf.fill([2, 3], 0.5);

describe('a classifier of tensor operations', () => {
  it('passes through when it is right', () => {
    const { feedback, invalid } = run(() => ({ accept: good(), reject: tf.zeros([2, 3]) }));
    expect(feedback.accept.arraySync()).toEqual([
      [0.5, 0.5, 0.5],
      [0.5, 0.5, 0],
    ]);
    expect(invalid.dataSync()[0]).toBe(0);
  });

  it('may answer with booleans or integers', () => {
    const { feedback, invalid } = run(({ evaluation }) => ({
      accept: tf.equal(evaluation, 0),
      reject: tf.zeros([2, 3], 'int32'),
    }));
    expect(feedback.accept.dtype).toBe('float32');
    expect(feedback.accept.arraySync()[0]).toEqual([1, 1, 1]);
    expect(invalid.dataSync()[0]).toBe(0);
  });

  it('is named when it throws', () => {
    const cause = new Error('no such column');
    const failing = () =>
      run(() => {
        throw cause;
      });
    expect(failing).toThrow(PmpoError);
    expect(failing).toThrow("feedback 'mine': it threw: no such column");
    try {
      failing();
    } catch (error) {
      expect((error as PmpoError).cause).toBe(cause);
    }
  });

  it.each<[string, () => unknown, string]>([
    ['nothing', () => undefined, "feedback 'mine': accept must be a tensor"],
    [
      'an array',
      () => ({ accept: [[1, 1, 1]], reject: good() }),
      "feedback 'mine': accept must be a tensor. Return {accept, reject}",
    ],
    ['one side', () => ({ accept: good() }), "feedback 'mine': reject must be a tensor"],
    [
      'a transposed shape',
      () => ({ accept: good(), reject: tf.zeros([3, 2]) }),
      "feedback 'mine': reject has the shape [3,2]. It must be [N, B] = [2, 3]",
    ],
    ['a flat shape', () => ({ accept: tf.zeros([6]), reject: good() }), 'accept has the shape [6]'],
  ])('is named when it returns %s', (_, classify, message) => {
    expect(() => run(classify)).toThrow(PmpoError);
    expect(() => run(classify)).toThrow(message);
  });

  it('has its invalid weights counted and taken for 0, those outside the mask let be', () => {
    const { feedback, invalid } = run(() => ({
      accept: tf.tensor2d([
        [Number.NaN, 1, 1.01],
        [0, 1, Number.NaN],
      ]),
      reject: tf.tensor2d([
        [0, -0.01, 0],
        [Number.POSITIVE_INFINITY, 0, 7],
      ]),
    }));
    expect(invalid.dataSync()[0]).toBe(4);
    expect(feedback.accept.arraySync()).toEqual([
      [0, 1, 0],
      [0, 1, 0],
    ]);
    expect(feedback.reject.arraySync()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(invalidFeedback('mine', 4, 17).message).toBe(
      "feedback 'mine': it returned 4 weights that are NaN or out of range at update 17; accept and reject weights must be numbers from 0 to 1",
    );
  });
});

describe('a classifier of plain code', () => {
  const given: HostFeedbackInput = {
    samplesPerContext: 2,
    contexts: 3,
    evaluation: new Float32Array(6),
    mask: Float32Array.of(1, 1, 1, 1, 1, 0),
    baseline: new Float32Array(3),
    sampleValues: new Float32Array(6),
    sampleShape: [2, 3, 1],
    contextValues: new Float32Array(12),
    contextShape: [3, 4],
  };
  const runOnHost = (classifyOnHost: () => unknown) =>
    classifyOnHostChecked(
      'mine',
      { provides, classifyOnHost: classifyOnHost as () => HostFeedback | Promise<HostFeedback> },
      given,
    );
  const weights = (...values: number[]) => Float32Array.of(...values);
  const zeros = () => new Float32Array(6);

  it('passes through when it is right, now or later, in plain arrays too', async () => {
    const accept = weights(0, 1, 0.5, 0, 0, Number.NaN);
    expect(await runOnHost(() => ({ accept, reject: zeros() }))).toEqual({ accept, reject: zeros() });
    expect(await runOnHost(async () => ({ accept, reject: zeros() }))).toEqual({ accept, reject: zeros() });
    const plain = await runOnHost(() => ({ accept: [0, 1, 0, 1, 0, 1], reject: [0, 0, 0, 0, 0, 0] }));
    expect(plain.accept).toEqual(weights(0, 1, 0, 1, 0, 1));
  });

  it.each<[string, () => unknown, string]>([
    [
      'throws',
      () => {
        throw new Error('service down');
      },
      'it threw: service down',
    ],
    ['rejects its promise', () => Promise.reject(new Error('too late')), 'it threw: too late'],
    ['throws something other than an error', () => Promise.reject('just words'), 'it threw: just words'],
    ['returns nothing', () => undefined, 'accept has no weights'],
    [
      'returns too few',
      () => ({ accept: zeros(), reject: weights(1, 0) }),
      'reject has 2 weights. It must be a Float32Array of N × B = 2 × 3 = 6',
    ],
    [
      'returns NaN',
      () => ({ accept: weights(0, 0, 0, 0, Number.NaN, 0), reject: zeros() }),
      'accept is NaN for sample 1 of context 1',
    ],
    [
      'returns −1',
      () => ({ accept: zeros(), reject: weights(0, 0, -1, 0, 0, 0) }),
      'reject is -1 for sample 0 of context 2',
    ],
    [
      'returns 2',
      () => ({ accept: weights(2, 0, 0, 0, 0, 0), reject: zeros() }),
      'accept is 2 for sample 0 of context 0',
    ],
  ])('is named when it %s', async (_, classify, message) => {
    const outcome = runOnHost(classify);
    await expect(outcome).rejects.toBeInstanceOf(PmpoError);
    await expect(outcome).rejects.toThrow(`feedback 'mine': ${message}`);
  });
});
