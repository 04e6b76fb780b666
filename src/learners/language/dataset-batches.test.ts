import { describe, expect, it } from 'vitest';
import { TabularModel } from '../../../test/support/tabular-model.js';
import { randomKey } from '../../core/random-keys.js';
import type { EvaluatedContext } from './batch.js';
import { DatasetBatches, heldOutLogProbs, holdOut, perplexity } from './dataset-batches.js';

const context = (text: string, ...evaluations: number[]): EvaluatedContext => ({
  prompt: { text, tokens: Int32Array.of(1), row: {} },
  completions: evaluations.map((evaluation, i) => ({
    text: `${text}${i}`,
    tokens: Int32Array.of(1, 2),
    finishReason: 'stop',
    evaluation,
  })),
});
const contexts = ['a', 'b', 'c', 'd', 'e'].map((text) => context(text, 1, -1, 0.5));

describe('DatasetBatches', () => {
  it('draws every context once before any again, in a new order each round, and reproducibly', async () => {
    const source = new DatasetBatches(contexts, { batchSize: 5, samples: 3 }, randomKey(1));
    const texts = async (i: number) => (await source.batch(i)).map(({ prompt }) => prompt.text);
    const [first, second, again] = [await texts(0), await texts(1), await texts(0)];
    expect([...first].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect([...second].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(second).not.toEqual(first);
    expect(again).toEqual(first);
  });

  it('crosses the end of a round, and draws N completions of larger contexts anew each time', async () => {
    const source = new DatasetBatches(contexts, { batchSize: 3, samples: 2 }, randomKey(2));
    const seen = new Map<string, Set<string>>();
    for (let i = 0; i < 10; i++) {
      for (const { prompt, completions } of await source.batch(i)) {
        expect(completions).toHaveLength(2);
        const texts = seen.get(prompt.text) ?? new Set();
        seen.set(prompt.text, new Set([...texts, ...completions.map(({ text }) => text)]));
      }
    }
    expect([...seen.values()].map(({ size }) => size)).toEqual([3, 3, 3, 3, 3]);
  });
});

it('DatasetBatches draws an accepted completion from each context that has one, if asked', async () => {
  const rare = context('a', ...Array.from({ length: 12 }, (_, i) => (i === 7 ? 1 : -1)));
  const source = new DatasetBatches([rare], { batchSize: 1, samples: 2, withAccepted: true }, randomKey(3));
  for (let i = 0; i < 10; i++) {
    const [{ completions }] = await source.batch(i);
    expect(completions.map(({ evaluation }) => evaluation).sort()).toEqual([-1, 1]);
  }
});

describe('holdOut', () => {
  it('splits contexts by share, and leaves some to learn from', () => {
    const { training, heldOut } = holdOut(contexts, 0.4, randomKey(0));
    expect([training.length, heldOut.length]).toEqual([3, 2]);
    expect(new Set([...training, ...heldOut])).toEqual(new Set(contexts));
    expect(holdOut(contexts, 0, randomKey(0)).heldOut).toEqual([]);
    expect(() => holdOut(contexts, 0.95, randomKey(0))).toThrow(/leaves none to learn from/);
  });
});

describe('holdOut of pairs', () => {
  it('learns no prompt that is held out, though several contexts have it', () => {
    const pairs = Array.from({ length: 40 }, (_, i) => context(`Q${i % 10}`, 1, -1));
    for (let seed = 0; seed < 5; seed++) {
      const { training, heldOut } = holdOut(pairs, 0.25, randomKey(seed));
      const learned = new Set(training.map(({ prompt }) => prompt.text));
      expect(heldOut.filter(({ prompt }) => learned.has(prompt.text))).toEqual([]);
      // 2 or 3 of 10 prompts, each with its 4 pairs.
      expect(heldOut.length).toBe(12);
      expect(training.length).toBe(28);
    }
  });
});

describe('metrics of held-out data', () => {
  it('of a uniform policy follow from the size of the vocabulary', async () => {
    const model = new TabularModel({ positions: 4, vocabulary: 4 });
    const metrics = await heldOutLogProbs(model, [context('a', 1, -1), context('b', -1)], 'labels');
    expect(metrics['heldOut/logProb/accepted']).toBeCloseTo(-2 * Math.log(4), 5);
    expect(metrics['heldOut/logProb/rejected']).toBeCloseTo(-2 * Math.log(4), 5);
    expect(Object.keys(await heldOutLogProbs(model, [context('a', 1)], 'labels'))).toEqual([
      'heldOut/logProb/accepted',
    ]);
    expect(
      Object.keys(await heldOutLogProbs(model, [context('a', 4, 1), context('b', 3)], 'scores')),
    ).toEqual(['heldOut/logProb/best', 'heldOut/logProb/worst']);
    expect(await heldOutLogProbs(model, [context('a', 3, 3)], 'scores')).toEqual({});
    expect(await perplexity(model, [Int32Array.of(1, 2, 3), Int32Array.of(1, 0)])).toBeCloseTo(4, 5);
  });
});
