import { type Command, Option } from 'commander';
import { wholeNumber } from '../options.js';
import {
  aborted,
  addPlace,
  addSecurity,
  type Place,
  pair,
  path,
  type SecurityOptions,
  securityArguments,
  untilStopped,
} from './serve-options.js';

const defaultPort = 50052;

interface TrainerOptions extends Place, SecurityOptions {
  readonly model: string;
  readonly loraRank?: number;
  readonly loraAlpha?: string;
  readonly loraTargets?: readonly string[];
  readonly adapter?: string;
  readonly device?: string;
  readonly dtype?: string;
  readonly contextLength?: number;
  readonly gradientCheckpointing?: boolean;
  readonly seed?: number;
  readonly maxTokensPerBatch?: number;
  readonly maxSequences?: number;
  readonly deterministic?: boolean;
  readonly processes?: number;
  readonly collectiveTimeout?: number;
  readonly folder?: string;
  readonly python?: string;
}

function trainerArguments(options: TrainerOptions): string[] {
  const flag = (name: string, set: boolean | undefined) => (set === true ? [name] : []);
  const { loraTargets } = options;
  return [
    ...path('--model', options.model),
    ...pair('--lora-rank', options.loraRank),
    ...pair('--lora-alpha', options.loraAlpha),
    ...(loraTargets === undefined ? [] : ['--lora-targets', ...loraTargets]),
    ...path('--adapter', options.adapter),
    ...pair('--device', options.device),
    ...pair('--dtype', options.dtype),
    ...pair('--context-length', options.contextLength),
    ...flag('--gradient-checkpointing', options.gradientCheckpointing),
    ...pair('--seed', options.seed),
    ...pair('--max-tokens-per-batch', options.maxTokensPerBatch),
    ...pair('--max-sequences', options.maxSequences),
    ...flag('--deterministic', options.deterministic),
    ...pair('--processes', options.processes),
    ...pair('--collective-timeout', options.collectiveTimeout),
    ...path('--folder', options.folder),
    ...securityArguments(options),
  ];
}

function serveTrainer(options: TrainerOptions): Promise<void> {
  const args = trainerArguments(options);
  const { host, port, python } = options;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return untilStopped(async (signal) => {
    const { startTorchTrainer } = await import('../../python/torch-trainer.js');
    const server = await startTorchTrainer({ host, port, args, python, say, log: say, signal });
    process.stdout.write(`Serving trainer on ${server.address} (Ctrl-C ends it)\n`);
    await Promise.race([aborted(signal), server.ended]);
    await server.close();
    const error = await server.ended;
    if (error !== undefined) throw error;
  });
}

/** `pmpo serve trainer`. */
export function addServeTrainer(serve: Command): void {
  const command = serve
    .command('trainer')
    .description('Serve a Hugging Face language model (PyTorch) that clients train and sample')
    .requiredOption('--model <folder>', 'the folder of a causal language model')
    .option(
      '--lora-rank <rank>',
      'train a LoRA adapter of this rank instead of the whole model',
      wholeNumber(1),
    )
    .option(
      '--lora-alpha <number>',
      'the scale of the adapter is this number / rank (default: twice the rank)',
    )
    .option(
      '--lora-targets <names...>',
      'modules with an adapter (default: all linear layers except the output layer)',
    )
    .option('--adapter <folder>', 'continue training this LoRA adapter')
    .addOption(
      new Option('--device <device>', 'auto: a GPU, if there is one').choices(['auto', 'cpu', 'cuda']),
    )
    .addOption(
      new Option('--dtype <type>', 'the type of the weights and of the computation').choices([
        'float32',
        'bfloat16',
      ]),
    )
    .option(
      '--context-length <tokens>',
      "the context length, if it should be less than the model's",
      wholeNumber(1),
    )
    .option('--gradient-checkpointing', 'use less memory and more time')
    .option('--seed <seed>', "the seed of the adapter's initial weights", wholeNumber(0))
    .option('--max-tokens-per-batch <tokens>', 'tokens per forward pass, including padding', wholeNumber(1))
    .option('--max-sequences <number>', 'largest number of completions sampled at once', wholeNumber(1))
    .option('--deterministic', 'make completions with a seed repeatable to the last bit; slower')
    .option('--processes <number>', 'train in this number of processes, each on one GPU', wholeNumber(1))
    .option(
      '--collective-timeout <seconds>',
      'time after which all processes end if one waits for another (default: 600)',
      wholeNumber(1),
    )
    .option(
      '--folder <folder>',
      'the folder in which clients may write and read checkpoints (default: the working directory)',
    )
    .option(
      '--python <interpreter>',
      'an interpreter with PyTorch, transformers and the other requirements (default: one is made)',
    );
  addSecurity(addPlace(command, defaultPort), 'write a more detailed log')
    .addHelpText(
      'after',
      `
The server speaks pmpo.v1.Trainer, and vLLM's protocol for sampling, on one port. At the first start, a Python environment with
exact versions is made in the cache folder ($PMPO_CACHE, or pmpo in the user's cache folder); the environment variable PYTHON
names the interpreter for that. Later starts download nothing.

Examples:
  npx pmpo serve trainer --model models/gemma3-270m --lora-rank 8
  npx pmpo serve trainer --model models/gemma3-270m --dtype bfloat16 --token-file secret/token`,
    )
    .action((options: TrainerOptions) => serveTrainer(options));
}
