import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NStepWindows } from './n-step.js';

interface Recorded {
  from: number;
  action: number;
  nStepReturn: number;
  discount: number;
  to: number;
}

interface Event {
  reward: number;
  /** The environment's discount; a server that sends none gets 0 at a terminal state and 1 otherwise. */
  weight: number;
  end: 'none' | 'ended' | 'lost';
}

const gamma = 0.9;

/** Passes events through the windows; observations are numbered, which shows the origin of each transition. */
function play(events: readonly Event[], steps: number, numEnvs = 1): Recorded[][] {
  const windows = new NStepWindows({ numEnvs, observationSize: 1, actionSize: 1, steps, discount: gamma });
  const out: Recorded[][] = Array.from({ length: numEnvs }, () => []);
  for (let k = 0; k < numEnvs; k++) {
    let observation = 0;
    events.forEach(({ reward, weight, end }, t) => {
      const next = observation + 1;
      windows.step(
        k,
        Float32Array.of(observation),
        Float32Array.of(t / 100),
        { reward, discount: weight, ended: end === 'ended', lost: end === 'lost' },
        Float32Array.of(next),
        ([from], [action], nStepReturn, discount, [to]) =>
          out[k].push({ from, action, nStepReturn, discount, to }),
      );
      // The first observation of an episode differs from the last one of the episode before.
      observation = end === 'none' ? next : next + 100;
    });
  }
  return out;
}

/** The transitions by definition: for each step, the rewards of the next m ≤ n steps of its episode. */
function byDefinition(events: readonly Event[], n: number): Map<number, Recorded> {
  const expected = new Map<number, Recorded>();
  let observation = 0;
  let episode: { from: number; t: number; reward: number; weight: number; to: number }[] = [];
  const close = (end: Event['end']) => {
    episode.forEach(({ from, t }, i) => {
      const window = episode.slice(i, i + n);
      if (window.length < n && end === 'none') return;
      const weightOf = (steps: typeof window) =>
        steps.reduce((product, { weight }) => product * gamma * weight, 1);
      const nStepReturn = window.reduce(
        (sum, { reward }, j) => sum + weightOf(window.slice(0, j)) * reward,
        0,
      );
      expected.set(from, {
        from,
        action: t / 100,
        nStepReturn,
        discount: weightOf(window),
        to: window[window.length - 1].to,
      });
    });
    episode = [];
  };
  events.forEach(({ reward, weight, end }, t) => {
    if (end !== 'lost') episode.push({ from: observation, t, reward, weight, to: observation + 1 });
    if (end !== 'none') close(end);
    observation = end === 'none' ? observation + 1 : observation + 101;
  });
  close('none');
  return expected;
}

const event = fc.record({
  reward: fc.integer({ min: -8, max: 8 }),
  weight: fc.constantFrom(1, 1, 1, 0.5, 0),
  end: fc.constantFrom<Event['end']>('none', 'none', 'none', 'none', 'ended', 'lost'),
});

describe('NStepWindows', () => {
  it('weighs what follows by the discounts of the environment, at the end of an episode as elsewhere', () => {
    const step = (reward: number, weight: number, end: Event['end'] = 'none') => ({ reward, weight, end });
    const [got] = play([step(1, 1), step(2, 0.5), step(4, 0.1, 'ended'), step(1, 0), step(7, 1, 'ended')], 3);
    const near = got.map((each) => [each.from, each.nStepReturn, each.discount, each.to]);
    const expected = [
      [0, 1 + 0.9 * (2 + 0.45 * 4), 0.9 * 0.45 * 0.09, 3],
      [1, 2 + 0.45 * 4, 0.45 * 0.09, 3],
      [2, 4, 0.09, 3],
      // Nothing after a discount of 0 counts, though the episode goes on.
      [103, 1, 0, 105],
      [104, 7, 0.9, 105],
    ];
    expect(near.length).toBe(expected.length);
    for (const [i, values] of expected.entries()) {
      for (const [j, value] of values.entries()) expect(near[i][j]).toBeCloseTo(value, 6);
    }
  });

  it('agrees with the definition of n-step transitions, whatever ends the episodes', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), fc.integer({ min: 1, max: 6 }), (events, n) => {
        const expected = byDefinition(events, n);
        const [got] = play(events, n);
        expect(new Set(got.map(({ from }) => from))).toEqual(new Set(expected.keys()));
        for (const transition of got) {
          const right = expected.get(transition.from)!;
          expect(transition.to).toBe(right.to);
          expect(transition.action).toBeCloseTo(right.action, 6);
          expect(transition.discount).toBeCloseTo(right.discount, 10);
          expect(transition.nStepReturn).toBeCloseTo(right.nStepReturn, 4);
        }
      }),
    );
  });

  it('keeps environments apart', () => {
    const events: Event[] = Array.from({ length: 12 }, (_, t) => ({
      reward: t,
      weight: 1,
      end: t === 7 ? 'ended' : 'none',
    }));
    const [first, second] = play(events, 3, 2);
    expect(second).toEqual(first);
  });

  it('continues from a snapshot as if there had been no stop', () => {
    const shape = { numEnvs: 1, observationSize: 1, actionSize: 1, steps: 3, discount: gamma };
    const one = new NStepWindows(shape);
    const step = (windows: NStepWindows, t: number, sink: (r: number) => void) =>
      windows.step(
        0,
        Float32Array.of(t),
        Float32Array.of(0),
        { reward: t, discount: t / 8, ended: false, lost: false },
        Float32Array.of(t + 1),
        (_o, _a, r) => sink(r),
      );
    for (const t of [1, 2]) step(one, t, () => {});
    const other = new NStepWindows(shape);
    other.restore(one.snapshot());
    const returns: number[][] = [[], []];
    for (const t of [3, 4, 5]) {
      step(one, t, (r) => returns[0].push(r));
      step(other, t, (r) => returns[1].push(r));
    }
    expect(returns[0].length).toBe(3);
    expect(returns[1]).toEqual(returns[0]);
  });
});
