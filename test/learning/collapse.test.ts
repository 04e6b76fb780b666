import { describe, expect, it } from 'vitest';
import { createSimulator } from '../../src/simulators/registry.js';
import { catchGame } from '../support/catch-game.js';
import { trainByDefault } from '../support/train-by-default.js';

/**
 * The defaults of the first versions, with which a policy stopped exploring before it had learned, and nothing said so: PMPO at 334 of 1000
 * on cartpole_swingup and at 0.1 of 1 on Catch, and DPO at 186 on cartpole_swingup. Now such a run warns early, and a run by
 * today's defaults does not.
 */
const formerDefaults = [
  'feedback.name=top-k',
  'learner.normalizeObservations=false',
  'learner.stepsPerUpdate=2',
  'learner.learningRate=3e-4',
  'learner.explorationEpsilon=0',
  'critic.normalizeTargets=false',
  'critic.learningRate=3e-4',
  'critic.target.period=100',
  'policy.uniformShare=0',
  'replay.nStep=5',
];
const pmpo = 'operator={name: pmpo, beta: 1, kl: {mean: 1, covariance: 1, categorical: 1}}';
const dpo = 'operator={name: dpo, kl: {mean: 0, covariance: 0}}';

const swingUp = () => createSimulator({ simulator: 'cartpole_swingup' });

const runs = [
  ['Catch', 'PMPO', 8000, async () => catchGame(), pmpo],
  ['cartpole_swingup', 'PMPO', 14_000, swingUp, pmpo],
  ['cartpole_swingup', 'DPO', 14_000, swingUp, dpo],
] as const;

describe.each(runs)('%s by %s', (_task, _operator, steps, connect, operator) => {
  const warnings = async (overrides: readonly string[]) => {
    const notices: string[] = [];
    const onNotice = (message: string) => notices.push(message);
    await trainByDefault({ connect, steps, overrides, episodes: 1, onNotice });
    return notices.filter((message) => message.startsWith('Warning'));
  };

  it('warns by the former defaults that the policy has stopped exploring', { timeout: 240_000 }, async () => {
    const [first] = await warnings([...formerDefaults, operator]);
    expect(first).toMatch(/^Warning: the policy has stopped exploring: .* operator\.kl\./);
  });
});
