import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { ConfigError, StoppedError } from '../../core/errors.js';
import { checkNewFile, writeNewFile } from '../new-file.js';

interface InitOptions {
  readonly simulator?: string;
  readonly address?: string;
  readonly dataset?: string;
}

/** Asks the user for what to write a configuration. @throws ConfigError if there is no terminal, StoppedError if the user leaves. */
async function ask(signal: AbortSignal): Promise<InitOptions> {
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw new ConfigError({
      what: 'nothing says what the configuration is for',
      remedy: 'Give --simulator NAME, --address HOST:PORT or --dataset FILE',
    });
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const left = new AbortController();
  // Ctrl-C and the end of the input.
  terminal.once('close', () => left.abort());
  const question = async (text: string) => {
    try {
      return (await terminal.question(`${text} `, { signal: AbortSignal.any([signal, left.signal]) })).trim();
    } catch (cause) {
      throw new StoppedError({ what: 'stopped: nothing is written', cause });
    }
  };
  try {
    const address = await question('Address of a simulator server, host:port (empty: none):');
    if (address !== '') {
      const simulator = await question('Name of the simulator on it (empty: the server has only one):');
      return { address, ...(simulator === '' ? {} : { simulator }) };
    }
    const dataset = await question(
      'Data set of judged completions or of transitions, a file or a folder (empty: none):',
    );
    if (dataset !== '') return { dataset };
    const simulator = await question(
      'Embedded simulator (`npx pmpo simulators` lists them; empty: reacher):',
    );
    return { simulator: simulator === '' ? 'reacher' : simulator };
  } finally {
    terminal.close();
  }
}

async function init(file: string, options: InitOptions): Promise<void> {
  checkNewFile(file, 'Give the name of a new file: npx pmpo init FILE');
  const { starterConfig } = await import('../../experiments/starter/starter-config.js');
  const { publicModules } = await import('../../public-modules.js');
  const { handleSignals } = await import('../../system/signals.js');
  const signals = handleSignals();
  const { signal } = signals;
  const notice = (line: string) => process.stderr.write(`${line}\n`);
  try {
    const { dataset, ...simulator } = Object.keys(options).length === 0 ? await ask(signal) : options;
    const subject = dataset === undefined ? simulator : { dataset, ...simulator };
    const { text, next } = await starterConfig(subject, { file, modules: publicModules, notice, signal });
    await writeNewFile(file, text);
    notice(`${file} is written. Next: ${next}`);
  } finally {
    signals.dispose();
  }
}

/** `pmpo init`. */
export function addInit(program: Command): void {
  program
    .command('init')
    .description('Write a first configuration for a simulator, a server or a data set')
    .argument('[file]', 'the file to write', 'pmpo.yaml')
    .option('--simulator <name>', 'an embedded simulator, or with --address the name of one on that server')
    .option('--address <host:port>', 'a dm_env_rpc server')
    .option('--dataset <file>', 'a data set, a file or a folder: judged completions, or transitions')
    .addHelpText(
      'after',
      `
Connects to the simulator, or reads the data set, before it writes anything. What was found is in the comments. Without options
it asks.

Examples:
  npx pmpo init
  npx pmpo init reacher.yaml --simulator reacher
  npx pmpo init walker.yaml --address 127.0.0.1:50051 --simulator suite/walker-walk
  npx pmpo init mine.yaml --dataset preferences.jsonl
  npx pmpo init offline.yaml --dataset transitions.parquet --address 127.0.0.1:50051`,
    )
    .action(init);
}
