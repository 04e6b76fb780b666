import { describe, expect, it } from 'vitest';
import { createSimulator } from '../../src/simulators/registry.js';
import { catchGame } from '../support/catch-game.js';
import { trainByDefault } from '../support/train-by-default.js';

/**
 * The defaults of the first versions, with which a policy stopped exploring before it had learned, and nothing said so: it ended at 334 of
 * 1000 on cartpole_swingup, at 52 of 1000 on reacher and at 0.1 of 1 on Catch. Now such a run warns early; defaults.test.ts
 * expects no warning of today's defaults.
 */
const formerDefaults = [
  'feedback.name=top-k',
  'learner.normalizeObservations=false',
  'learner.stepsPerUpdate=2',
  'learner.learningRate=3e-4',
  'learner.explorationCorrelation=0.95',
  'learner.explorationEpsilon=0',
  'critic.normalizeTargets=false',
  'critic.learningRate=3e-4',
  'critic.target.period=100',
  'policy.uniformShare=0',
  'replay.nStep=5',
];
const pmpo = 'operator={name: pmpo, beta: 1, kl: {mean: 1, covariance: 1, categorical: 1}}';

const simulator = (name: string) => () => createSimulator({ simulator: name });

const runs = [
  ['Catch', 8000, async () => catchGame()],
  ['cartpole_swingup', 14_000, simulator('cartpole_swingup')],
  ['reacher', 14_000, simulator('reacher')],
] as const;

describe.each(runs)('%s', (_task, steps, connect) => {
  const warnings = async (overrides: readonly string[]) => {
    const notices: string[] = [];
    const onNotice = (message: string) => notices.push(message);
    await trainByDefault({ connect, steps, overrides, episodes: 1, onNotice });
    return notices.filter((message) => message.startsWith('Warning'));
  };

  it('warns by the former defaults that the policy has stopped exploring', { timeout: 240_000 }, async () => {
    const [first] = await warnings([...formerDefaults, pmpo]);
    expect(first).toMatch(/^Warning: the policy has stopped exploring: .* operator\.kl\./);
  });
});
