import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { defineOperator } from './define.js';
import { dpo } from './dpo.js';
import { kto } from './kto.js';
import { mpo } from './mpo.js';
import type { CheckedBatch, Operator, OperatorBatch } from './operator.js';
import { type PmpoSettings, pmpo } from './pmpo.js';
import { createOperatorRegistry } from './registry.js';

// Two samples of each of three contexts.
const plane = () => tf.tensor2d([-1, -2, -3, -4, -5, -6], [2, 3]);
const kl = () => ({ exact: true, parts: { mean: tf.tensor2d([0.1, 0.2, 0.3], [3, 1]) } });

/** A batch with everything in it. */
function whole(): OperatorBatch {
  return {
    logProb: plane(),
    referenceLogProb: plane(),
    evaluation: plane(),
    accept: tf.tensor2d([1, 1, 1, 0, 0, 0], [2, 3]),
    reject: tf.tensor2d([0, 0, 0, 1, 1, 1], [2, 3]),
    kl,
  };
}

/** The message with which an operator refuses a batch. */
function refusal(
  operator: Operator,
  change: Partial<Record<keyof OperatorBatch, unknown>>,
  state = {},
): string {
  try {
    operator.loss({ ...whole(), ...change } as OperatorBatch, state);
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

/** MPO's initial state for one KL part of size 1. */
function mpoState(): Record<string, Tensor> {
  const initial = mpo({ actionPenalty: null }).initialState({ klParts: { mean: 1 } });
  return Object.fromEntries(
    Object.entries(initial).map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]),
  );
}

beforeAll(() => tf.setBackend('cpu'));

describe('a batch', () => {
  it.each([
    'logProb',
    'referenceLogProb',
    'accept',
    'reject',
    'evaluation',
    'mask',
    'boundViolation',
  ] as const)('whose %s is [B] is refused instead of broadcast', (field) => {
    expect(refusal(pmpo(), { [field]: tf.zeros([3]) })).toMatch(
      new RegExp(`^operator pmpo, batch.${field}: has the shape \\[3\\]. It must be \\[N, B\\]`),
    );
  });

  it('with planes of different sizes is refused with both shapes', () => {
    expect(refusal(dpo(), { referenceLogProb: tf.zeros([1, 3]) })).toBe(
      'operator dpo, batch.referenceLogProb: has the shape [1, 3]. It must be [N, B], [2, 3] like batch.logProb',
    );
  });

  it('with something other than a tensor is refused', () => {
    expect(refusal(pmpo(), { accept: [[1], [0]] })).toMatch(/batch.accept: must be a TensorFlow.js tensor/);
  });

  it.each([
    [pmpo(), 'kl'],
    [pmpo({ alpha: 1 }), 'accept'],
    [pmpo({ alpha: 0 }), 'reject'],
    [kto(), 'kl'],
    [kto(), 'referenceLogProb'],
    [dpo(), 'referenceLogProb'],
    [mpo(), 'evaluation'],
  ] as const)('without what the operator needs is refused by name: %#', (operator, field) => {
    const message = refusal(operator, { [field]: undefined });
    expect(message).toContain(
      `operator ${operator.name}, batch.${field}: is missing, and ${operator.name} needs it. Give `,
    );
  });

  it('may leave out what the operator does not read', () => {
    const { logProb, accept, reject } = whole();
    const { loss } = pmpo({ alpha: 1 }).loss({ logProb, accept, kl: kl() });
    const full = pmpo({ alpha: 1 }).loss({ ...whole(), reject });
    expect(loss.dataSync()).toEqual(full.loss.dataSync());
  });

  it('without a mask has all samples present', () => {
    const masked = kto().loss({ ...whole(), mask: tf.onesLike(plane()) });
    expect(kto().loss(whole()).loss.dataSync()).toEqual(masked.loss.dataSync());
  });

  it('without a mask has a gradient', () => {
    const gradient = (mask?: tf.Tensor2D) =>
      tf.grad((logProb) => pmpo().loss({ ...whole(), mask, logProb: logProb as tf.Tensor2D }).loss)(plane());
    expect(gradient().dataSync()).toEqual(gradient(tf.onesLike(plane())).dataSync());
  });

  it('may give the KL as a value or as a function, which is called once', () => {
    let calls = 0;
    const counted = () => {
      calls += 1;
      return kl();
    };
    const byFunction = pmpo().loss({ ...whole(), kl: counted });
    const byValue = pmpo().loss({ ...whole(), kl: kl() });
    expect(byFunction.loss.dataSync()).toEqual(byValue.loss.dataSync());
    expect(calls).toBe(1);
  });

  it('whose KL is not [B, D] is refused', () => {
    const parts = { mean: tf.zeros([3]) };
    expect(refusal(pmpo(), { kl: { exact: true, parts } })).toMatch(
      /batch.kl.parts.mean: has the shape \[3\]. It must be \[B, D\], here \[3, D\]/,
    );
    expect(refusal(pmpo(), { kl: tf.scalar(1) })).toMatch(
      /batch.kl: must be KL\(reference ‖ policy\) as \{exact/,
    );
  });

  it('with an estimate of the KL is refused by an operator that needs it exact', () => {
    const estimate = () => ({ ...kl(), exact: false });
    expect(refusal(mpo({ actionPenalty: null }), { kl: estimate }, mpoState())).toMatch(/is an estimate/);
    expect(refusal(pmpo(), { kl: estimate })).toBe('accepted');
  });
});

describe('a state', () => {
  const operator = mpo({ actionPenalty: null });

  it("is accepted with the operator's names and shapes", () => {
    expect(refusal(operator, {}, mpoState())).toBe('accepted');
  });

  it('without one of the names is refused', () => {
    const { logTemperature } = mpoState();
    expect(refusal(operator, {}, { logTemperature })).toMatch(
      /^operator mpo, state: 'logKlWeight\/mean' is missing. Make the state from operator.initialState/,
    );
    expect(refusal(operator, {})).toMatch(/'logTemperature' is missing/);
  });

  it('with another name is refused', () => {
    expect(refusal(operator, {}, { ...mpoState(), temprature: tf.zeros([1]) })).toBe(
      "operator mpo, state: unknown name 'temprature'. Known: logTemperature, logKlWeight/mean",
    );
    expect(refusal(pmpo(), {}, mpoState())).toMatch(/unknown name 'logTemperature'. pmpo has none, as set/);
  });

  it('of another shape is refused', () => {
    expect(refusal(operator, {}, { ...mpoState(), 'logKlWeight/mean': tf.zeros([2]) })).toBe(
      "operator mpo, state 'logKlWeight/mean': has the shape [2]. It must be [1]",
    );
  });
});

describe('settings', () => {
  const withSettings = (settings: unknown) => () => pmpo(settings as PmpoSettings);

  it('out of range, unknown or misspelled are refused by name', () => {
    expect(withSettings({ alpha: 7 })).toThrow('pmpo, alpha: must be at most 1, not 7');
    expect(withSettings({ aplha: 1 })).toThrow("pmpo, aplha: unknown key. Did you mean 'alpha'?");
    expect(withSettings({ kl: { covarianc: 50 } })).toThrow(
      "pmpo, kl.covarianc: unknown key. Did you mean 'covariance'?",
    );
  });

  it('are filled in by a registry as by the factories', () => {
    const { loss } = createOperatorRegistry().get('pmpo').create({}).loss(whole());
    expect(loss.dataSync()).toEqual(pmpo({ alpha: 0.5, beta: 1, kl: {} }).loss(whole()).loss.dataSync());
  });
});

describe('an operator of your own', () => {
  const entropy = defineOperator({
    name: 'plain',
    description: 'Maximum likelihood of everything accepted, by weight',
    settings: z.strictObject({ scale: z.number().default(2) }),
    create: ({ scale }) => ({
      needs: { feedback: 'accepts', evaluation: false, referenceLogProb: false, kl: 'none' },
      initialState: () => ({}),
      loss: ({ logProb, accept }) => ({
        loss: tf.mul(tf.neg(tf.sum(tf.mul(accept, logProb))), scale),
        metrics: {},
      }),
    }),
  });

  it('sees feedback that is 0 outside the mask', () => {
    const mask = tf.tensor2d([1, 0, 1, 1, 1, 1], [2, 3]);
    const accept = tf.tensor2d([1, Number.NaN, 1, 0, 0, 0], [2, 3]);
    const { loss } = entropy.create().loss({ ...whole(), accept, mask });
    expect(loss.dataSync()[0]).toBe(8);
  });

  it('may return a metric of any rank that is a single number, and calls its definition as a method', () => {
    const definition = {
      name: 'mine',
      description: 'Has a helper of its own',
      settings: z.strictObject({}),
      scale: 3,
      create() {
        const { scale } = this;
        return {
          needs: { feedback: 'none', evaluation: false, referenceLogProb: false, kl: 'none' } as const,
          initialState: () => ({}),
          loss: ({ logProb }: CheckedBatch) => ({
            loss: tf.mul<tf.Scalar>(tf.sum(logProb), scale),
            metrics: { 'policy/odd': tf.ones([1]) as tf.Tensor as tf.Scalar },
          }),
        };
      },
    };
    const { loss } = defineOperator(definition).create().loss(whole());
    expect(loss.dataSync()[0]).toBe(-63);
  });

  it('is held to the same checks', () => {
    expect(refusal(entropy.create(), { accept: tf.zeros([3]) as unknown as Tensor2D })).toMatch(
      /batch.accept/,
    );
    const vector = defineOperator({
      name: 'vector',
      description: 'Returns a loss for each context',
      settings: z.strictObject({}),
      create: () => ({
        needs: { feedback: 'none', evaluation: false, kl: 'none' },
        initialState: () => ({}),
        loss: ({ logProb }) => ({ loss: tf.sum(logProb, 0), metrics: {} }),
      }),
    });
    expect(refusal(vector.create(), {})).toBe(
      'operator vector, result loss: has the shape [3]. It must be a scalar',
    );
  });
});
