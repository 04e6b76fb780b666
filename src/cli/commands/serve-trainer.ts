import { type Command, Option } from 'commander';
import { wholeNumber } from '../options.js';
import {
  addPlace,
  addSecurity,
  asked,
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
    await Promise.race([asked(signal), server.ended]);
    await server.close();
    const error = await server.ended;
    if (error !== undefined) throw error;
  });
}

/** `pmpo serve trainer`. */
export function addServeTrainer(serve: Command): void {
  const command = serve
    .command('trainer')
    .description('A Hugging Face language model (PyTorch) that is trained and sampled over gRPC')
    .requiredOption('--model <folder>', 'a folder with a causal language model')
    .option('--lora-rank <rank>', 'train a LoRA adapter of this rank, not the whole model', wholeNumber(1))
    .option('--lora-alpha <number>', 'its scale is this number / rank (default: twice the rank)')
    .option(
      '--lora-targets <names...>',
      'modules that get one (default: all linear ones but the output layer)',
    )
    .option('--adapter <folder>', 'go on training this LoRA adapter')
    .addOption(
      new Option('--device <device>', 'auto: a GPU if there is one').choices(['auto', 'cpu', 'cuda']),
    )
    .addOption(new Option('--dtype <type>', 'in which is computed').choices(['float32', 'bfloat16']))
    .option('--context-length <tokens>', "less than the model's own", wholeNumber(1))
    .option('--gradient-checkpointing', 'less memory, more time')
    .option('--seed <seed>', "of the adapter's first weights", wholeNumber(0))
    .option('--max-tokens-per-batch <tokens>', 'in one pass, padding counted', wholeNumber(1))
    .option('--max-sequences <number>', 'completions made at once', wholeNumber(1))
    .option('--deterministic', 'a seed gives the same completions to the last bit; slower')
    .option('--processes <number>', 'train in so many processes, on a GPU each', wholeNumber(1))
    .option(
      '--collective-timeout <seconds>',
      'how long one of them waits for another before all end (default: 600)',
      wholeNumber(1),
    )
    .option('--folder <folder>', 'clients may have checkpoints written and read below it (default: here)')
    .option(
      '--python <interpreter>',
      'one that has PyTorch, transformers and the rest, in place of making one',
    );
  addSecurity(addPlace(command, defaultPort), 'log more')
    .addHelpText(
      'after',
      `
It serves pmpo.v1.Trainer, and vLLM's protocol for sampling, on one port. The first time, a Python environment with exact
versions is made in the cache folder ($PMPO_CACHE, or pmpo in the user's cache folder); PYTHON names the interpreter. Nothing
is downloaded when it runs.

Examples:
  pmpo serve trainer --model models/gemma3-270m --lora-rank 8
  pmpo serve trainer --model models/gemma3-270m --dtype bfloat16 --token-file secret/token`,
    )
    .action((options: TrainerOptions) => serveTrainer(options));
}
