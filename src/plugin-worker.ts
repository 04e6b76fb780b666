import { parentPort, workerData } from 'node:worker_threads';
import type {
  PluginClassifierSettings,
  PluginFailure,
  PluginReply,
  PluginRequest,
} from './config/plugin-classifier.js';
import { loadPlugins } from './config/plugins.js';
import { PmpoError } from './core/errors.js';
import { Registry } from './core/registry.js';
import type { HostClassifier, RegisteredFeedback } from './feedback/classifier.js';
import type { RewardDefinition } from './language/rewards/reward.js';
import type { RegisteredOperator } from './operators/operator.js';
import { publicModules } from './public-modules.js';

/** The thread of a plugin's classifier: makes it once, and answers one request after another. */

const port = parentPort!;
const { plugin, name, settings, samples, ownModules } = workerData as PluginClassifierSettings;
const reply = (message: PluginReply) => port.postMessage(message);

function failureOf(error: unknown): PluginFailure {
  if (!(error instanceof PmpoError))
    return { message: error instanceof Error ? error.message : String(error) };
  const { what, where, remedy } = error.details;
  return { message: error.message, details: { what, where, remedy } };
}

async function open(): Promise<HostClassifier> {
  const modules = ownModules ? publicModules : {};
  const registries = {
    operators: new Registry<RegisteredOperator>('operator'),
    feedback: new Registry<RegisteredFeedback>('feedback'),
    rewards: new Registry<RewardDefinition>('reward'),
  };
  await loadPlugins([plugin], registries, '.', modules);
  const classifier = registries.feedback.get(name).create(settings, samples) as HostClassifier;
  await classifier.open?.({ notice: (notice) => reply({ notice }) });
  return classifier;
}

let classifier: Promise<HostClassifier> | undefined;
// This thread is ended as a whole when an answer is not needed any more.
const never = new AbortController().signal;

port.on('message', async (request: PluginRequest) => {
  try {
    if (request.kind === 'close') {
      await (await classifier)?.close?.();
      return reply({});
    }
    classifier ??= open();
    const opened = await classifier;
    reply(request.kind === 'open' ? {} : { feedback: await opened.classifyOnHost(request.input, never) });
  } catch (error) {
    reply({ error: failureOf(error) });
  }
});
