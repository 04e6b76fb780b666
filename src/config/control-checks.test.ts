import { describe, expect, test } from 'vitest';
import { formatPath } from '../core/key-path.js';
import { createCatalogue } from './catalogue.js';
import { crossCheck } from './control-checks.js';
import { configSchema } from './control-schema.js';

const schema = configSchema(createCatalogue());

function check(values: Record<string, unknown>): string[] {
  const config = schema.parse({ environment: { simulator: 'reacher' }, ...values });
  return crossCheck(config, ['cartpole_swingup', 'reacher']).map(
    ({ path, what }) => `${formatPath(path)}: ${what}`,
  );
}

describe('crossCheck', () => {
  test('accepts the defaults', () => {
    expect(check({})).toEqual([]);
  });

  test.each<[string, Record<string, unknown>]>([
    ['environment: has neither a simulator nor', { environment: {} }],
    ["environment.simulator: unknown embedded simulator 'reach'", { environment: { simulator: 'reach' } }],
    ['environment.address: 70000 is not a valid port', { environment: { address: 'localhost:70000' } }],
    [
      'environment.address: 70000 is not a valid port',
      { environment: { address: ['localhost:1', 'localhost:70000'] } },
    ],
    ['environment.tls: has no effect on the embedded', { environment: { simulator: 'reacher', tls: true } }],
    [
      'environment.token: has no effect on the embedded',
      { environment: { simulator: 'reacher', token: { file: 't' } } },
    ],
    [
      'environment.createSettings.batchSize: is set by this program',
      { environment: { address: 'localhost:1', createSettings: { batchSize: 4 } } },
    ],
    [
      'environment.tls.key: is missing',
      { environment: { address: 'localhost:1', tls: { certificate: 'c.pem' } } },
    ],
    [
      'environment.numEnvs: 9 is more',
      { environment: { simulator: 'reacher', numEnvs: 9 }, learner: { environmentSteps: 8, warmupSteps: 0 } },
    ],
    [
      'learner.warmupSteps: 50 steps leave none for training',
      { learner: { environmentSteps: 50, warmupSteps: 50 } },
    ],
    [
      'learner.explorationSwing: cannot be set with learner.explorationCorrelation',
      { learner: { explorationSwing: 10, explorationCorrelation: 0.9 } },
    ],
    ['replay.capacity: 10 is less than one batch', { replay: { capacity: 10 } }],
    ['policy.minStddev: 0.5 is not below', { policy: { minStddev: 0.5 } }],
    [
      'critic.normalizeTargets: false does not fit',
      { critic: { head: 'categorical', normalizeTargets: false } },
    ],
    ['policy.hidden: [64, 32] has several widths', { policy: { residual: true, hidden: [64, 32] } }],
  ])('%s', (line, values) => {
    const found = check(values);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(line);
  });

  test('accepts any simulator name for a remote server', () => {
    expect(check({ environment: { address: 'localhost:9000', simulator: 'theirs' } })).toEqual([]);
    expect(check({ environment: { address: 'localhost:9000' } })).toEqual([]);
  });

  test('ignores the bounds of the standard deviation for a categorical head', () => {
    expect(check({ policy: { head: 'categorical', minStddev: 0.5 } })).toEqual([]);
  });
});
