import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { addConfigOptions, type ConfigOptions, overridesOf, refuseOptions, wholeNumber } from '../options.js';

interface DataOptions extends ConfigOptions {
  readonly count: number;
}

/** Describes a data set of transitions. */
async function showTransitionSet(
  file: string,
  settings: { readonly actionBounds?: readonly [number, number]; readonly actionValues?: number },
): Promise<void> {
  const { showTransitions } = await import('../../experiments/transition-data-view.js');
  const { handleSignals } = await import('../../system/signals.js');
  const signals = handleSignals();
  try {
    const print = (line: string) => process.stdout.write(`${line}\n`);
    await showTransitions(file, { ...settings, print, signal: signals.signal });
  } finally {
    signals.dispose();
  }
}

async function showData(file: string, options: DataOptions, command: Command): Promise<void> {
  if (!/\.ya?ml$/i.test(file)) {
    refuseOptions(command, ['set', 'operator', 'seed', 'output', 'name', 'count'], {
      where: file,
      what: 'a data set has no configuration',
      remedy: 'Give the configuration of an offline job, which names the data set as dataset.file',
    });
    await showTransitionSet(file, {});
    return;
  }
  const { loadJob } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { handleSignals } = await import('../../system/signals.js');
  const job = await loadJob(file, await overridesOf(options), { modules: publicModules });
  if (job.kind === 'offline') {
    await showTransitionSet(job.config.dataset.file, job.config.dataset);
    return;
  }
  if (job.kind !== 'language') {
    throw new ConfigError({
      where: file,
      what: 'it describes a control job, which makes its own data',
      remedy:
        'Give the configuration of a language or an offline job, such as examples/language/labels.yaml, or a data set of transitions',
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
    .description('Show the first examples of a language job token by token, or describe a set of transitions')
    .argument('<config>', 'the configuration, a YAML file; or a data set of transitions')
    .option('--count <number>', 'number of examples', wholeNumber(1), 3);
  addConfigOptions(command)
    .addHelpText(
      'after',
      `
Shows the tokens of prompts and completions as the model gets them, with │ between tokens, and which of them are learned with which
label or score. Then checks the data set as training does. Servers that the configuration names must be up, because the tokenizer is
theirs.

Of an offline job, and of a data set of transitions (Minari, .parquet, .jsonl), it shows what it holds, and checks all of it. A file
without bounds of actions needs the configuration, which gives them.

Examples:
  npx pmpo data examples/language/labels.yaml
  npx pmpo data examples/offline/offline.yaml
  npx pmpo data examples/language/gemma-270m.yaml --count 10`,
    )
    .action(showData);
}
