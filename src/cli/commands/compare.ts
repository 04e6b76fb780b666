import { relative } from 'node:path';
import type { Command } from 'commander';
import { exitCodes } from '../../core/errors.js';
import {
  addOutputOptions,
  addSettingOptions,
  type ConfigOptions,
  commandLine,
  nameList,
  overridesOf,
  wholeNumber,
} from '../options.js';

interface CompareCommandOptions extends Pick<ConfigOptions, 'set' | 'output' | 'name'> {
  readonly operators: readonly string[];
  readonly seeds: number;
  readonly resume?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

async function runComparison(file: string, options: CompareCommandOptions): Promise<void> {
  const { publicModules } = await import('../../public-modules.js');
  const { compare } = await import('../../experiments/compare.js');
  const { progressMode } = await import('../../run/progress.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { groupOutcome, groupRuns, outcomeLine } = await import('../../report/curves.js');
  const say = (line: string) => {
    if (options.quiet !== true) process.stderr.write(`${line}\n`);
  };
  const signals = handleSignals({
    onStop: () => say('Stopping: saving a checkpoint … (again to stop at once)'),
  });
  const { folder, report, runs, failures, interrupted } = await compare({
    file,
    operators: options.operators,
    seeds: options.seeds,
    resume: options.resume,
    overrides: await overridesOf({ set: options.set, output: options.output, name: options.name }),
    progressMode: progressMode({ ...options, isTerminal: process.stderr.isTTY === true }),
    modules: publicModules,
    command: commandLine(),
    signal: signals.signal,
    say,
  });
  signals.dispose();
  const outcomes = groupRuns(runs).map(groupOutcome);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ event: 'compared', outcomes, failures, report })}\n`);
  } else {
    for (const outcome of outcomes) say(outcomeLine(outcome));
    say(`Report: ${report}`);
  }
  if (interrupted) {
    process.stderr.write(
      `Stopped. Continue with the same command and --resume ${relative(process.cwd(), folder)}\n`,
    );
  }
  if (failures.length > 0 || interrupted) process.exitCode = exitCodes.failed;
}

/** `pmpo compare`. */
export function addCompare(program: Command): void {
  const command = program
    .command('compare')
    .description('Train with several operators and seeds, and show all runs in one report')
    .argument('<config>', 'the configuration of all runs, a YAML file')
    .requiredOption('--operators <names>', 'the operators, separated by commas', nameList)
    .option(
      '--seeds <number>',
      "number of seeds per operator, counted from the configuration's seed",
      wholeNumber(1),
      3,
    )
    .option('--resume <dir>', 'continue the comparison in this folder; finished runs are kept');
  addSettingOptions(command);
  addOutputOptions(command)
    .addHelpText(
      'after',
      `
The runs are made one after the other, each in its own folder. The operator of the configuration has its settings from there,
and the other operators have their defaults. A run that fails is shown as diverged, and the exit code is then 1. Ctrl-C saves
a checkpoint of the current run.

Examples:
  npx pmpo compare examples/cartpole.yaml --operators pmpo,mpo,dpo --seeds 3
  npx pmpo compare examples/cartpole.yaml --operators pmpo,mpo --set learner.environmentSteps=20000
  npx pmpo compare examples/cartpole.yaml --operators pmpo,mpo,dpo --seeds 3 --resume runs/compare-cartpole_swingup`,
    )
    .action(runComparison);
}
