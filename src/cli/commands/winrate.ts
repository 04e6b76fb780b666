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
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return;
    }
    const { wins, losses, ties, unanswered, winRate, interval } = result;
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
    .description('Let a judge compare the completions of two language models')
    .argument(
      '<a>',
      'host:port of an LM server, a .jsonl file of completions, or the folder of an embedded model',
    )
    .argument('<b>', 'what it is compared with')
    .requiredOption('--prompts <file>', 'JSON Lines or Parquet, one prompt in each row')
    .requiredOption(
      '--judge <file>',
      'a module that exports compare or reward (.ts, .js), or settings (.yaml)',
    )
    .option('--field <name>', 'the column that holds the prompt', 'prompt')
    .option('--chat', "lay a prompt out as a user's turn by the model's chat template")
    .option('--max-tokens <number>', 'of a completion', wholeNumber(1), 64)
    .option('--temperature <number>', '0 for the likeliest', numberBetween(0, 10), 1)
    .option(
      '--top-p <number>',
      'draw from the tokens that hold this much probability',
      numberBetween(0, 1),
      1,
    )
    .option('--stop <text>', 'ends a completion; may be given several times', collect)
    .option('--seed <number>', 'of what is random', wholeNumber(0), 0)
    .option('--output <file>', 'where every verdict is kept', 'verdicts.jsonl')
    .option('--tls-ca <pem>', 'reach LM servers by TLS, and trust this authority')
    .option('--token-file <file>', 'the bearer token that LM servers want')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
A judge to whom the order could matter (a language model, compare) is asked in both orders; where it contradicts itself,
the two are tied. The interval is Wilson's, with ties counted half. A comparison that was stopped goes on when the same
command is given again: what is in the file of verdicts is not asked twice.

Settings of a judge:
  {name: language-model, address: 127.0.0.1:50061, template: compare.txt}      {{prompt}} {{first}} {{second}}; A, B or TIE
  {name: language-model, url: https://judge.example/v1, model: NAME, token: {environmentVariable: KEY}, template: compare.txt}
  {name: reward-model, address: 127.0.0.1:8081, model: NAME}

Examples:
  pmpo winrate runs/embedded-pmpo-seed0/completions/update-00000150.jsonl runs/embedded-pmpo-seed0/completions/update-00000000.jsonl \\
    --prompts examples/language/held-out.jsonl --judge examples/language/kind-reviews.ts
  pmpo winrate 127.0.0.1:50061 127.0.0.1:50062 --prompts held-out.jsonl --judge judge.yaml --chat`,
    )
    .action(winrate);
}
