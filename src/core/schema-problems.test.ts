import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { formatPath } from './key-path.js';
import { explainIssues } from './schema-problems.js';

const settings = z.strictObject({
  alpha: z.number().min(0).max(1).default(0.5),
  kl: z.strictObject({ mean: z.number().optional(), covariance: z.number().optional() }).prefault({}),
});

describe('explainIssues, for the settings of one operator', () => {
  it.each([
    [{ aplha: 1 }, "aplha: unknown key. Did you mean 'alpha'?"],
    [{ alpha: 7 }, 'alpha: must be at most 1, not 7'],
    [{ alpha: '1' }, "alpha: must be a number, not '1'"],
    [{ kl: { covarianc: 50 } }, "kl.covarianc: unknown key. Did you mean 'covariance'?"],
    [{ kl: 1 }, 'kl: must be a group of settings, not 1'],
    [{ gamma: 1 }, 'gamma: unknown key. Known here: alpha, kl'],
  ])('%j', (values, line) => {
    const { error } = settings.safeParse(values);
    const lines = explainIssues(error!, settings, values).map(
      ({ path, what, remedy }) => `${formatPath(path)}: ${what}${remedy === undefined ? '' : `. ${remedy}`}`,
    );
    expect(lines).toEqual([line]);
  });
});
