import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SampleToInsertRatio, smallestErrorBuffer } from './rate-limiter.js';

describe('SampleToInsertRatio', () => {
  const ratio = new SampleToInsertRatio({ samplesPerInsert: 4, minimumInserts: 100, errorBuffer: 40 });

  it('allows no samples before the minimum of items is there', () => {
    expect(ratio.samplesAllowed(99)).toBe(0);
    expect(ratio.samplesAllowed(100)).toBe(40);
    expect(ratio.samplesDue(100)).toBe(0);
  });

  it('allows actors to insert the minimum, and at most the buffer beyond it', () => {
    expect(ratio.insertsAllowed(0)).toBe(110);
    expect(ratio.insertsAllowed(400)).toBe(210);
  });

  it('gives the learner its share of samples for each item', () => {
    expect(ratio.samplesDue(350)).toBe(1000);
    expect(ratio.samplesDue(10)).toBe(0);
  });

  it('never makes both sides wait for each other, and keeps them within the buffer', () => {
    const options = fc.record({
      samplesPerInsert: fc.double({ min: 0.1, max: 300, noNaN: true }),
      minimumInserts: fc.integer({ min: 1, max: 50 }),
      batchSize: fc.integer({ min: 1, max: 256 }),
      more: fc.integer({ min: 0, max: 100 }),
      // Which side tries first in each turn.
      turns: fc.array(fc.boolean(), { minLength: 50, maxLength: 300 }),
    });
    fc.assert(
      fc.property(options, ({ samplesPerInsert, minimumInserts, batchSize, more, turns }) => {
        const errorBuffer = smallestErrorBuffer(samplesPerInsert, batchSize) + more;
        const limiter = new SampleToInsertRatio({ samplesPerInsert, minimumInserts, errorBuffer });
        let [inserts, samples] = [0, 0];
        const insert = () => {
          if (inserts + 1 > limiter.insertsAllowed(samples)) return false;
          inserts += 1;
          return true;
        };
        const sample = () => {
          if (samples + batchSize > limiter.samplesAllowed(inserts)) return false;
          samples += batchSize;
          return true;
        };
        for (const actorsFirst of turns) {
          expect(actorsFirst ? insert() || sample() : sample() || insert()).toBe(true);
          if (samples === 0) continue;
          const apart = samplesPerInsert * (inserts - minimumInserts) - samples;
          expect(Math.abs(apart)).toBeLessThanOrEqual(errorBuffer + 1);
        }
      }),
    );
  });
});
