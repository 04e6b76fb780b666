import { parentPort, workerData } from 'node:worker_threads';
import type { PluginClassifierSettings } from './config/plugin-classifier.js';
import { loadPlugins } from './config/plugins.js';
import { Registry } from './core/registry.js';
import { threadJudge, type UserJudgeSettings } from './experiments/winrate/user-judge.js';
import type { HostClassifier, HostFeedbackInput, RegisteredFeedback } from './feedback/classifier.js';
import { openProgram } from './language/rewards/program.js';
import type { RewardDefinition } from './language/rewards/reward.js';
import { threadReward, type UserRewardSettings } from './language/rewards/user-reward.js';
import type { RegisteredOperator } from './operators/operator.js';
import { publicModules } from './public-modules.js';
import { answerRequests, type ThreadObject } from './system/user-thread.js';

/** The thread of a user's code: a plugin's classifier of plain code, a reward, or a judge of win rates. */

const settings = workerData as PluginClassifierSettings | UserRewardSettings | UserJudgeSettings;
const modules = settings.ownModules ? publicModules : {};

async function registriesOf(plugin: string) {
  const registries = {
    operators: new Registry<RegisteredOperator>('operator'),
    feedback: new Registry<RegisteredFeedback>('feedback'),
    rewards: new Registry<RewardDefinition>('reward'),
  };
  await loadPlugins([plugin], registries, '.', modules, { isUserThread: true });
  return registries;
}

async function openClassifier(
  { plugin, name, settings, samples }: PluginClassifierSettings,
  notice: (message: string) => void,
): Promise<ThreadObject> {
  const { feedback } = await registriesOf(plugin);
  const classifier = feedback.get(name).create(settings, samples) as HostClassifier;
  await classifier.open?.({ notice });
  return {
    call: async (input, signal) => classifier.classifyOnHost(input as HostFeedbackInput, signal),
    close: () => classifier.close?.(),
  };
}

async function openReward(
  { plugin, name, settings, where }: UserRewardSettings,
  notice: (message: string) => void,
  signal: AbortSignal,
): Promise<ThreadObject> {
  if (plugin === undefined) return threadReward(await openProgram(settings as never, where, modules));
  const { rewards } = await registriesOf(plugin);
  return threadReward(await rewards.get(name).open(settings, { where, notice, signal }));
}

answerRequests(parentPort!, (notice, signal) => {
  if (settings.kind === 'feedback') return openClassifier(settings, notice);
  if (settings.kind === 'judge') return threadJudge(settings, modules);
  return openReward(settings, notice, signal);
});
