import { expect, it } from 'vitest';
import { equalRewardsWarning, KlWatch } from './watch.js';

it('a KL above the bound ends the job, in words that name the bound', () => {
  const watch = new KlWatch(5);
  expect(watch.end(3, 5)).toBeUndefined();
  expect(watch.end(4, 5.1)!.message).toBe(
    'update 4: the KL between reference and policy is 5.10 nats per completion, and learner.maxKl is 5. A checkpoint has been saved. Hold the policy closer to its reference (operator.beta, learner.learningRate), or raise learner.maxKl',
  );
  expect(watch.warning(4, 100)).toBeUndefined();
});

it('without a bound a large KL is told once', () => {
  const watch = new KlWatch(undefined);
  expect(watch.end(1, 1e6)).toBeUndefined();
  expect(watch.warning(1, 30)).toBeUndefined();
  expect(watch.warning(2, 31)).toMatch(/^Warning: after 2 updates, the KL .* is 31\.0 nats per completion/);
  expect(watch.warning(3, 32)).toBeUndefined();
});

it('equal rewards are told', () => {
  const batch = (...evaluations: (number | undefined)[]) => [
    {
      prompt: { text: '', tokens: Int32Array.of(0), row: {} },
      completions: evaluations.map((evaluation) => ({
        text: '',
        tokens: Int32Array.of(0),
        finishReason: 'stop' as const,
        ...(evaluation === undefined ? {} : { evaluation }),
      })),
    },
  ];
  expect(equalRewardsWarning(batch(2, 2, undefined))).toMatch(
    /^Warning: all 2 completions .* the reward 2\./,
  );
  expect(equalRewardsWarning(batch(2, 3))).toBeUndefined();
  expect(equalRewardsWarning(batch(2))).toBeUndefined();
});
