import { type PluginServer, type PluginServerOptions, startPluginServer } from './plugin-server.js';

/** The trainer of language models in Python: plugins/torch-trainer. */

/** PyTorch's launcher gives its processes 30 seconds to end before it kills them, and must then end itself. */
const endSecondsOfProcesses = 45;

export interface TorchTrainerOptions extends PluginServerOptions {
  /** Further arguments of the Python program: `--model DIR` and others. */
  readonly args: readonly string[];
  /** An interpreter that has PyTorch and the other requirements. Default: one is made with the tested versions. */
  readonly python?: string;
  /** How long reading the model may take, in seconds. */
  readonly startSeconds?: number;
}

/** Starts the trainer. @throws PmpoError as `startPluginServer`. */
export function startTorchTrainer({
  python,
  startSeconds = 900,
  ...options
}: TorchTrainerOptions): Promise<PluginServer> {
  const endSeconds = options.args.includes('--processes') ? endSecondsOfProcesses : undefined;
  return startPluginServer(
    {
      name: 'the trainer',
      folder: 'torch-trainer',
      requirements: 'trainer.txt',
      withDependencies: true,
      module: ['pmpo_torch_trainer'],
      complaint: 'pmpo-torch-trainer: ',
      addressKey: 'language.model.address',
    },
    options,
    { startSeconds, endSeconds },
    python,
  );
}
