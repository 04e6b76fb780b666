import { expect, it } from 'vitest';
import { environmentDifference, recordedEnvironment } from './recorded-environment.js';

const own = { simulator: 'reacher', actionRepeat: 4, createSettings: { a: 1, b: 2 }, numEnvs: 3 };

it('says how an environment differs from that of the data', () => {
  const recorded = recordedEnvironment(own);
  expect(recorded).toEqual({ simulator: 'reacher', actionRepeat: 4, createSettings: { a: 1, b: 2 } });
  expect(environmentDifference(recorded, { ...own, createSettings: { b: 2, a: 1 } })).toBeUndefined();
  expect(environmentDifference(undefined, own)).toBeUndefined();
  expect(environmentDifference('reacher', own)).toBeUndefined();
  expect(environmentDifference(recorded, { ...own, simulator: undefined, actionRepeat: 8 })).toBe(
    'The data was recorded with environment.simulator "reacher", here none; environment.actionRepeat 4, here 8: returns of evaluations are those of another task than the data\'s',
  );
});
