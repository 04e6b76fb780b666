import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { addConfigOptions, type ConfigOptions, overridesOf, wholeNumber } from '../options.js';

interface DataOptions extends ConfigOptions {
  readonly count: number;
}

async function showData(file: string, options: DataOptions): Promise<void> {
  const { loadJob } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { handleSignals } = await import('../../system/signals.js');
  const job = await loadJob(file, overridesOf(options), { modules: publicModules });
  if (job.kind !== 'language') {
    throw new ConfigError({
      where: file,
      what: 'it describes a control job, which has no prompts or completions',
      remedy: 'Give the configuration of a language job, such as examples/language/labels.yaml',
    });
  }
  const { showLanguageData } = await import('../../experiments/language-data-view.js');
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const signals = handleSignals();
  try {
    const { signal } = signals;
    const print = (line: string) => process.stdout.write(`${line}\n`);
    await showLanguageData(job, { count: options.count, print, notice: say, say, signal });
  } finally {
    signals.dispose();
  }
}

/** `pmpo data`. */
export function addData(program: Command): void {
  const command = program
    .command('data')
    .description('Show the first examples of a language job token by token')
    .argument('<config>', 'the configuration, a YAML file')
    .option('--count <number>', 'number of examples', wholeNumber(1), 3);
  addConfigOptions(command)
    .addHelpText(
      'after',
      `
Shows the tokens of prompts and completions as the model gets them, with │ between tokens, and which of them are learned with which
label or score. Then checks the data set as training does. Servers that the configuration names must be up, because the tokenizer is
theirs.

Examples:
  pmpo data examples/language/labels.yaml
  pmpo data examples/language/gemma-270m.yaml --count 10`,
    )
    .action(showData);
}
