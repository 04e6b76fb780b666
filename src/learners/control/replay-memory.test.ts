import { describe, expect, it } from 'vitest';
import { controlConfig } from '../../../test/support/control-config.js';
import { replayMemory } from './replay-memory.js';

const pixels = 64 * 64 * 3;
const images = {
  observationSize: pixels,
  actionSize: 2,
  actionRepeat: 1,
  byteRanges: [{ start: 0, size: pixels, divisor: 255 }],
};
const settings = (capacity: number, environmentSteps: number) =>
  controlConfig({ replay: { capacity }, learner: { environmentSteps } });

describe('replayMemory', () => {
  it('counts the transitions that a run can store, and images as bytes', () => {
    expect(replayMemory(settings(1_000_000, 100_000), images, 64e9)).toBe(
      'Replay memory when full: 100,000 transitions of 24.6 kB are 2.46 GB',
    );
    expect(replayMemory(settings(1000, 1e9), { ...images, byteRanges: [] }, 64e9)).toMatch(/are 98.3 MB$/);
    expect(replayMemory(settings(1e6, 1000), { ...images, actionRepeat: 4 }, 64e9)).toMatch(
      / 250 transitions/,
    );
  });

  it('refuses more than the machine has, with the capacity that fits', () => {
    const refuse = () => replayMemory(settings(1_000_000, 1_000_000), images, 16e9);
    expect(refuse).toThrow(
      /^replay.capacity: 1,000,000 transitions of 24.6 kB are 24.6 GB, and this machine has 16 GB of memory. Set it to 550000 or less$/,
    );
    expect(() => replayMemory(settings(550_000, 1_000_000), images, 16e9)).not.toThrow();
  });
});
