import { beforeAll, describe, expect, it } from 'vitest';
import { type BatchNumbers, solveBatch } from '../../test/references/operator-cases.js';
import type { Numbers } from '../../test/references/read.js';
import * as tf from '../engine/tf.js';
import type { Operator } from './operator.js';
import { createOperatorRegistry } from './registry.js';

/** Edge cases that every operator must hold to. Shapes: N samples, B contexts. */

const registry = createOperatorRegistry();

/** Every operator, with the settings that lead to other code. */
const variants: readonly (readonly [name: string, settings: object])[] = [
  ...registry.names().map((name) => [name, {}] as const),
  ['pmpo', { alpha: 0, beta: 2 }],
  ['pmpo', { normalise: 'batch', advantageScale: 1, reverseKl: true }],
  ['pmpo', { perToken: true }],
  ['kto', { referencePoint: 'mismatched' }],
  ['ipo', { perToken: true }],
  ['grpo', { perToken: true, beta: 0.1 }],
  ['crr', { filter: 'exponential' }],
];

beforeAll(() => tf.setBackend('cpu'));

const [n, b] = [4, 3];
const plane = (of: (sample: number, context: number) => number, samples = n): number[][] =>
  Array.from({ length: samples }, (_, i) => Array.from({ length: b }, (_, j) => of(i, j)));
/** Numbers in (−1, 1) without a pattern. */
const noise = (seed: number) => (i: number, j: number) => Math.sin(12.9898 * (7 * i + j + 1) + 78.233 * seed);

function batch(changes: Partial<BatchNumbers['planes']> = {}, samples = n): BatchNumbers {
  return {
    planes: {
      logProb: plane((i, j) => noise(1)(i, j) - 3, samples),
      referenceLogProb: plane((i, j) => noise(2)(i, j) - 3, samples),
      evaluation: plane(noise(3), samples),
      accept: plane((i) => Number(i % 2 === 0), samples),
      reject: plane((i) => Number(i % 2 === 1), samples),
      mask: plane(() => 1, samples),
      length: plane((i, j) => 1 + i + j, samples),
      mismatchedLogRatio: plane(noise(4), samples),
      ...changes,
    },
    kl: { sequence: [[0.1], [0.2], [0.3]] },
    reverseKl: { sequence: [[0.3], [0.1], [0.2]] },
  };
}

function solved(operator: Operator, given: BatchNumbers) {
  const state = Object.fromEntries(
    Object.entries(operator.initialState({ klParts: { sequence: 1 } })).map(([name, { data }]) => [
      name,
      [...data] as Numbers,
    ]),
  );
  const { loss, gradients } = solveBatch(operator, given, state);
  return { loss: loss.dataSync()[0]!, gradient: [...gradients.logProb!.dataSync()].map(Math.abs) };
}

describe.each(variants)('%s %o', (name, settings) => {
  const operator = registry.get(name).create(settings);
  const { feedback, comparesSamples, reverseKl } = operator.needs;
  const kl = reverseKl === true ? 'any' : (operator.needs.kl ?? 'any');

  it('reads nothing behind the mask', () => {
    const isAbsent = (i: number, j: number) => i === 1 && j > 0;
    const behind = (value: number) => {
      const { planes } = batch();
      const spoiled = Object.entries(planes).map(([key, rows]) => [
        key,
        plane((i, j) => (isAbsent(i, j) ? value : (rows as number[][])[i]![j]!)),
      ]);
      return solved(
        operator,
        batch({ ...Object.fromEntries(spoiled), mask: plane((i, j) => Number(!isAbsent(i, j))) }),
      );
    };
    const clean = behind(0.5);
    expect(clean.loss).toBeTypeOf('number');
    expect(behind(Number.NaN)).toEqual(clean);
    expect(behind(Number.POSITIVE_INFINITY)).toEqual(clean);
    for (const j of [1, 2]) expect(clean.gradient[b + j]).toBe(0);
  });

  it('has a gradient of exactly 0 without any sample', () => {
    const { loss, gradient } = solved(operator, batch({ mask: plane(() => 0) }));
    expect(gradient).toEqual(gradient.map(() => 0));
    if (kl === 'none') expect(Math.abs(loss)).toBe(0);
    else expect(Number.isFinite(loss)).toBe(true);
  });

  it('learns nothing without feedback, if it needs some', () => {
    const none = plane(() => 0);
    const { loss, gradient } = solved(operator, batch({ accept: none, reject: none }));
    const isZero = gradient.every((one) => one === 0);
    expect(isZero).toBe(feedback !== 'none');
    if (isZero && kl === 'none') expect(Math.abs(loss)).toBe(0);
  });

  it('learns something where there is something to learn', () => {
    const { loss, gradient } = solved(operator, batch());
    expect(Number.isFinite(loss)).toBe(true);
    expect(gradient.some((one) => one > 0)).toBe(true);
  });

  it('is finite with one sample for each context', () => {
    const { loss, gradient } = solved(operator, batch({}, 1));
    for (const one of [loss, ...gradient]) expect(Number.isFinite(one)).toBe(true);
  });

  it('ranks by no difference of equal evaluations, however large', () => {
    // 0.1 + 0.1 + 0.1 is not 0.3.
    const equal = plane(() => 1e6 + 0.1);
    const { gradient } = solved(operator, batch({ evaluation: equal }));
    const { gradient: small } = solved(operator, batch({ evaluation: plane(() => 0.1) }));
    expect(gradient).toEqual(small);
    if (comparesSamples && ['reinforce', 'crr', 'grpo'].includes(name) && !('beta' in settings)) {
      const isBinary = !('filter' in settings);
      expect(gradient.every((one) => one === 0)).toBe(isBinary);
    }
  });
});
