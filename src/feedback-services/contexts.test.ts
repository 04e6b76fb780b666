import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { HostFeedbackInput } from '../feedback/classifier.js';
import { contextRange, joinContexts } from './contexts.js';

/** A batch of N samples with A values of B contexts with O values, whose every value tells its place. */
function batch(n: number, b: number, a: number, o: number): HostFeedbackInput {
  const count = (size: number, from: number) => Float32Array.from({ length: size }, (_, i) => from + i);
  return {
    samplesPerContext: n,
    contexts: b,
    evaluation: count(n * b, 0),
    mask: count(n * b, 1e4),
    baseline: count(b, 2e4),
    sampleValues: count(n * b * a, 3e4),
    sampleShape: [n, b, a],
    contextValues: count(b * o, 4e4),
    contextShape: [b, o],
    contextTexts: Array.from({ length: b }, (_, i) => `prompt ${i}`),
    sampleTexts: Array.from({ length: n * b }, (_, i) => `sample ${i}`),
  };
}

it('a batch in parts has every value in its place, and its feedback comes together again', () => {
  const size = fc.integer({ min: 1, max: 5 });
  fc.assert(
    fc.property(size, size, size, size, size, (n, b, a, o, width) => {
      const whole = batch(n, b, a, o);
      const starts = Array.from({ length: Math.ceil(b / width) }, (_, i) => i * width);
      const parts = starts.map((from) => contextRange(whole, from, Math.min(b, from + width)));
      parts.forEach((part, i) => {
        for (let row = 0; row < n; row++) {
          for (let column = 0; column < part.contexts; column++) {
            const [at, from] = [row * part.contexts + column, row * b + starts[i]! + column];
            expect(part.evaluation[at]).toBe(whole.evaluation[from]);
            expect(part.sampleTexts![at]).toBe(whole.sampleTexts![from]);
            expect(part.sampleValues.slice(at * a, at * a + a)).toEqual(
              whole.sampleValues.slice(from * a, from * a + a),
            );
          }
        }
        const [first, count] = [starts[i]!, part.contexts];
        expect(part.baseline).toEqual(whole.baseline.slice(first, first + count));
        expect(part.contextValues).toEqual(whole.contextValues.slice(first * o, (first + count) * o));
        expect(part.contextTexts).toEqual(whole.contextTexts!.slice(first, first + count));
        expect([part.sampleShape, part.contextShape]).toEqual([
          [n, count, a],
          [count, o],
        ]);
      });
      const joined = joinContexts(
        parts.map(({ evaluation, mask }) => ({ accept: evaluation, reject: mask })),
        n,
        b,
      );
      expect(joined).toEqual({ accept: whole.evaluation, reject: whole.mask });
    }),
  );
});
