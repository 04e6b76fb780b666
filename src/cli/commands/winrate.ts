import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { collect, wholeNumber } from '../options.js';

interface WinRateCliOptions {
  readonly prompts: string;
  readonly field: string;
  readonly judge: string;
  readonly chat?: boolean;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly stop?: readonly string[];
  readonly seed: number;
  readonly output: string;
  readonly tlsCa?: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
}

function numberBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value >= low && value <= high)) {
      throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`);
    }
    return value;
  };
}

async function winrate(a: string, b: string, options: WinRateCliOptions): Promise<void> {
  const { publicModules } = await import('../../public-modules.js');
  const { measureWinRate } = await import('../../experiments/winrate/winrate.js');
  const { PmpoError } = await import('../../core/errors.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { maxTokens, temperature, topP, stop = [], tlsCa, tokenFile } = options;
  const signals = handleSignals();
  try {
    const result = await measureWinRate({
      a,
      b,
      prompts: options.prompts,
      field: options.field,
      chat: options.chat === true,
      judge: options.judge,
      modules: publicModules,
      sampling: { maxTokens, temperature, topP, stop },
      seed: options.seed,
      output: options.output,
      ...(tlsCa === undefined ? {} : { tls: { ca: tlsCa } }),
      ...(tokenFile === undefined ? {} : { token: { file: tokenFile } }),
      signal: signals.signal,
      notice: (message) => process.stderr.write(`${message}\n`),
    });
    const { prompts, wins, losses, ties, unanswered, winRate, interval } = result;
    if (Number.isNaN(winRate)) {
      throw new PmpoError({
        where: `--judge ${options.judge}`,
        what: `the judge gave no verdict on any of the ${prompts} prompts; its answers are in ${options.output}`,
        remedy: 'Let the question ask for nothing but the verdict, or set `pattern` in its settings',
      });
    }
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return;
    }
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
    process.stdout.write(
      `A wins ${percent(winRate)} (95 %: ${percent(interval[0])} to ${percent(interval[1])}): ${wins} won, ${losses} lost, ${ties} tied${unanswered > 0 ? `, ${unanswered} without an answer` : ''}\nVerdicts: ${options.output}\n`,
    );
  } finally {
    signals.dispose();
  }
}

/** `pmpo winrate`. */
export function addWinrate(program: Command): void {
  program
    .command('winrate')
    .description('Compare the completions of two language models with a judge')
    .argument(
      '<a>',
      'host:port of an LM server, a file of completions (.jsonl, .parquet), or the folder of an embedded model',
    )
    .argument('<b>', 'the same for the other model')
    .requiredOption('--prompts <file>', 'a file with one prompt per row: JSON Lines, JSON or Parquet')
    .requiredOption(
      '--judge <file>',
      'a module that exports compare or reward (.ts, .js), or the settings of a judge (.yaml)',
    )
    .option('--field <name>', 'the column of the prompt', 'prompt')
    .option('--chat', "format a prompt as a user's message with the model's chat template")
    .option('--max-tokens <number>', 'largest number of tokens of a completion', wholeNumber(1), 64)
    .option(
      '--temperature <number>',
      'sampling temperature; 0: always the likeliest token',
      numberBetween(0, 10),
      1,
    )
    .option(
      '--top-p <number>',
      'draw only from the likeliest tokens whose probabilities add up to this much',
      numberBetween(0, 1),
      1,
    )
    .option('--stop <text>', 'a text that ends a completion; may be repeated', collect)
    .option('--seed <number>', 'the random seed', wholeNumber(0), 0)
    .option('--output <file>', 'the file to which every verdict is written', 'verdicts.jsonl')
    .option('--tls-ca <pem>', 'connect to LM servers with TLS, and trust this authority')
    .option('--token-file <file>', 'a file with the bearer token for LM servers')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A judge whose answer may depend on the order (a language model, or compare) is asked in both orders; if the answers contradict
each other, it is a tie. The interval is Wilson's, and a tie counts as half a win. If a comparison is stopped, the same command
continues it and asks only for the verdicts that are not in the file yet.

Settings of a judge (.yaml):
  {name: language-model, address: 127.0.0.1:50061, template: compare.txt}      {{prompt}} {{first}} {{second}}; asks for A, B or TIE alone
  {name: language-model, url: https://judge.example/v1, model: NAME, token: {environmentVariable: KEY}, template: compare.txt}
  {name: reward-model, address: 127.0.0.1:8081, model: NAME}

Examples:
  npx pmpo winrate runs/embedded-pmpo-seed0/completions/update-00000150.jsonl runs/embedded-pmpo-seed0/completions/update-00000000.jsonl \\
    --prompts examples/language/held-out.jsonl --judge examples/language/kind-reviews.ts
  npx pmpo winrate 127.0.0.1:50061 127.0.0.1:50062 --prompts held-out.jsonl --judge judge.yaml --chat`,
    )
    .action(winrate);
}
