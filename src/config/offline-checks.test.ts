import { describe, expect, it } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { resolveConfig, resolveJob } from './load.js';

async function offline(settings: string) {
  const job = await resolveJob('offline.yaml', `dataset: {file: data}\n${settings}`);
  if (job.kind !== 'offline') throw new Error(job.kind);
  return job;
}

describe('the configuration of an offline job', () => {
  it('needs a data set alone', async () => {
    const { config, warnings } = await offline('');
    expect(config.environment).toBeUndefined();
    expect(config.learner).toMatchObject({
      actions: 'data',
      behaviorCloning: 1,
      operatorWeight: 1,
      samples: 4,
    });
    expect(config.feedback).toEqual({ name: 'value-baseline' });
    expect(warnings).toEqual([]);
  });

  it.each([
    ['operator: {alpha: 0}\nlearner: {behaviorCloning: 0.5}', 'learner.behaviorCloning ≥ 1 does'],
    ['operator: {alpha: 0.5}\nlearner: {behaviorCloning: 0}', 'learner.behaviorCloning ≥ 0.5 does'],
    [
      'operator: {alpha: 0, normalise: batch}\nlearner: {behaviorCloning: 1}',
      'where half of the actions are rejected',
    ],
    [
      'operator: {alpha: 0}\nlearner: {behaviorCloning: 1, operatorWeight: 2}',
      'learner.behaviorCloning ≥ 2 does',
    ],
  ])('warns of an objective that lowers rejected actions without end: %s', async (settings, warning) => {
    expect((await offline(settings)).warnings).toEqual([expect.stringContaining(warning)]);
  });

  it.each([
    'operator: {alpha: 1}\nlearner: {behaviorCloning: 0}',
    'operator: {alpha: 0}\nlearner: {behaviorCloning: 1}',
    'operator: {alpha: 0.5}\nlearner: {behaviorCloning: 0.5}',
    'operator: {name: crr}\nlearner: {behaviorCloning: 0}',
    'operator: {alpha: 0, beta: 2, kl: {}}\nlearner: {actions: policy, behaviorCloning: 0}\nfeedback: {name: top-k}',
  ])('does not warn of one that is bounded: %s', async (settings) => {
    expect((await offline(settings)).warnings).toEqual([]);
  });

  it("warns of the data's own actions and of the policy's samples, if both are rejected", async () => {
    const operator = 'operator: {alpha: 0, beta: 0.1}';
    const of = async (learner: string) => (await offline(`${operator}\nlearner: ${learner}`)).warnings;
    const ofData = await of('{actions: data, behaviorCloning: 0}');
    const ofPolicy = await of('{actions: policy, behaviorCloning: 0}');
    expect([ofData.length, ofPolicy.length]).toEqual([1, 1]);
    const ofBoth = await of('{actions: both, behaviorCloning: 0}');
    expect(ofBoth).toEqual([...ofData, expect.stringContaining(ofPolicy[0]!.slice(0, 20))]);
    expect(await of('{actions: both, behaviorCloning: 1}')).toEqual(ofBoth.slice(1));
  });

  it.each([
    ['learner: {operatorWeight: 0, behaviorCloning: 0}', 'the policy would never change'],
    ['dataset: {file: a, actionBounds: [1, -1]}', '1 is not below -1'],
    ['dataset: {file: a, actionBounds: [-1, 1], actionValues: 3}', 'does not go with dataset.actionBounds'],
    ['operator: {name: mpo}', 'Set learner.actions to policy or both'],
    ['operator: {name: dpo}', 'Set learner.actions to policy or both'],
    ['feedback: {name: top-k}', 'top-k'],
    ['environment: {simulator: carpole_swingup}', "Did you mean 'cartpole_swingup'?"],
    ['learner: {environmentSteps: 5}', 'environmentSteps'],
  ])('refuses %s', async (settings, message) => {
    const text = settings.startsWith('dataset') ? settings : `dataset: {file: data}\n${settings}`;
    await expect(resolveJob('offline.yaml', text)).rejects.toThrow(message);
    await expect(resolveJob('offline.yaml', text)).rejects.toThrow(ConfigError);
  });

  it('takes MPO and top-k on samples of the policy, and both on all actions of a context', async () => {
    const policy = await offline('operator: {name: mpo}\nlearner: {actions: policy}');
    expect(policy.config.operator.name).toBe('mpo');
    const both = await offline('feedback: {name: top-k}\nlearner: {actions: both, samples: 3}');
    expect(both.config.feedback).toMatchObject({ accept: 2, reject: 2 });
  });

  it('is refused where a control job is needed', async () => {
    await expect(resolveConfig('offline.yaml', 'dataset: {file: data}')).rejects.toThrow(
      'this is the configuration of an offline job',
    );
  });
});
