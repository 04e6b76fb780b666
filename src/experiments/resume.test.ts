import { describe, expect, it } from 'vitest';
import { compareWithCheckpoint } from './resume.js';

const learner = { environmentSteps: 10_000, warmupSteps: 1000, stepsPerUpdate: 4, decayFrom: 0.25 };

/** The notices of a run that is extended from `before` to `now` environment steps after `steps` of them. */
function noticesOf(before: number, now: number, steps = before, changes: object = {}): readonly string[] {
  const config = (environmentSteps: number) => ({ learner: { ...learner, ...changes, environmentSteps } });
  const checkpoint = { tensors: {}, metadata: { counters: { updates: 0 } } };
  const loaded = { file: 'f', steps, checkpoint, config: config(before), hasChecksum: true };
  return compareWithCheckpoint('config.yaml', loaded, config(now)).notices;
}

describe('the notice of an extended run', () => {
  it('gives the factors of the learning rate, whose decay begins after 1,000 updates at the earliest', () => {
    // 5,000 steps hold the first 1,000 updates: the decay begins at half of 10,000 steps, and at a quarter of 40,000.
    expect(noticesOf(10_000, 40_000, 7500)).toEqual([
      'The run is extended from 10,000 to 40,000 environment steps, at 7,500. The learning rate now decays until 40,000: its factor goes from 0.50 to 1.00, so the result differs from that of a run with this total from the start',
    ]);
    expect(noticesOf(10_000, 20_000)[0]).toContain('its factor goes from 0.05 to 0.67');
  });

  it('says when the shorter total leaves no decay', () => {
    expect(noticesOf(10_000, 5000, 4000)[0]).toMatch(/shortened .* The learning rate no longer decays: /);
  });

  it('says nothing of a learning rate that does not decay with either total', () => {
    const plain = ['The run is extended from 4,000 to 5,000 environment steps, at 4,000'];
    expect(noticesOf(4000, 5000)).toEqual(plain);
    expect(noticesOf(4000, 50_000, 4000, { decayFrom: 1 })[0]).not.toContain('learning rate');
  });

  it('knows the decay of language jobs, which counts updates', () => {
    const config = (updates: number) => ({ language: {}, learner: { updates, decayFrom: 0.5 } });
    const checkpoint = { tensors: {}, metadata: { counters: { updates: 75 } } };
    const loaded = { file: 'f', steps: 1200, checkpoint, config: config(100), hasChecksum: true };
    const { notices } = compareWithCheckpoint('config.yaml', loaded, config(300));
    expect(notices[0]).toMatch(/from 100 to 300 updates, at 75\. .* its factor goes from 0\.50 to 1\.00/);
  });
});
