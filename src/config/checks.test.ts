import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { formatPath } from '../core/key-path.js';
import { crossCheck } from './checks.js';
import {
  type Config,
  checkpointSchema,
  criticSchema,
  environmentSchema,
  evaluationSchema,
  learnerSchema,
  policySchema,
  replaySchema,
} from './schema.js';
import { referenceSchema } from './schema-parts.js';

const sections = z.object({
  environment: environmentSchema,
  reference: referenceSchema.prefault({ period: 100 }),
  policy: policySchema.prefault({}),
  critic: criticSchema.prefault({}),
  learner: learnerSchema.prefault({}),
  replay: replaySchema.prefault({}),
  evaluation: evaluationSchema.prefault({}),
  checkpoint: checkpointSchema.prefault({}),
});

function check(values: Record<string, unknown>): string[] {
  const config = sections.parse({ environment: { simulator: 'reacher' }, ...values }) as unknown as Config;
  return crossCheck(config, ['cartpole_swingup', 'reacher']).map(
    ({ path, what }) => `${formatPath(path)}: ${what}`,
  );
}

describe('crossCheck', () => {
  test('has nothing to say about the defaults', () => {
    expect(check({})).toEqual([]);
  });

  test.each<[string, Record<string, unknown>]>([
    ['environment: names neither', { environment: {} }],
    ["environment.simulator: unknown embedded simulator 'reach'", { environment: { simulator: 'reach' } }],
    ['environment.address: 70000 is no port', { environment: { address: 'localhost:70000' } }],
    [
      'environment.address: 70000 is no port',
      { environment: { address: ['localhost:1', 'localhost:70000'] } },
    ],
    ['environment.tls: means nothing to the embedded', { environment: { simulator: 'reacher', tls: true } }],
    [
      'environment.token: means nothing to the embedded',
      { environment: { simulator: 'reacher', token: { file: 't' } } },
    ],
    [
      'environment.createSettings.batchSize: is sent by this program itself',
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
    ['learner.warmupSteps: 50 leaves nothing', { learner: { environmentSteps: 50, warmupSteps: 50 } }],
    ['replay.capacity: 10 holds no batch', { replay: { capacity: 10 } }],
    ['policy.minStddev: 0.5 is not below', { policy: { minStddev: 0.5 } }],
  ])('%s', (line, values) => {
    const found = check(values);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(line);
  });

  test('any simulator name may be sent to a remote server', () => {
    expect(check({ environment: { address: 'localhost:9000', simulator: 'theirs' } })).toEqual([]);
    expect(check({ environment: { address: 'localhost:9000' } })).toEqual([]);
  });

  test('bounds of the deviation mean nothing to a categorical head', () => {
    expect(check({ policy: { head: 'categorical', minStddev: 0.5 } })).toEqual([]);
  });
});
