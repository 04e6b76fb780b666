import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { ConfigError } from '../../core/errors.js';
import type { MixedPolicy } from '../../experiments/recording/recipe.js';
import { collect, commandLine, overridesOf, refuseOptions, wholeNumber } from '../options.js';

interface RecordOptions {
  readonly set?: string[];
  readonly output: string;
  readonly episodes: number;
  readonly policy: readonly MixedPolicy[];
  readonly seed: number;
}

/** `random`, `20000:0.5` or `latest:1:0.2`: what acts, its share, and the noise that is added. */
function parsePolicy(text: string, before: readonly MixedPolicy[] = []): MixedPolicy[] {
  const [name = '', share = '1', noise = '0', ...rest] = text.split(':');
  const isNumber = (value: string) =>
    value.trim() !== '' && Number.isFinite(Number(value)) && Number(value) >= 0;
  const isKnown = name === 'random' || name === 'latest' || name === 'best' || /^\d+$/.test(name);
  if (!isKnown || !isNumber(share) || Number(share) === 0 || !isNumber(noise) || rest.length > 0) {
    throw new InvalidArgumentError(
      'It must be NAME[:SHARE[:NOISE]] with NAME random, latest, best or the step of a checkpoint, such as 20000:0.5:0.1.',
    );
  }
  const policy = name === 'random' || name === 'latest' || name === 'best' ? name : Number(name);
  return [...before, { policy, share: Number(share), noise: Number(noise) }];
}

const say = (line: string) => process.stderr.write(`${line}\n`);

async function record(given: string, options: RecordOptions, command: Command): Promise<void> {
  const { loadConfig } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { openRunDirectory } = await import('../../run/run-directory.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { recordEpisodes } = await import('../../experiments/recording/record.js');
  const { readRecipe } = await import('../../experiments/recording/read-recipe.js');
  const signals = handleSignals({ onStop: () => say('Stopping … (again to stop at once)') });
  try {
    const { signal } = signals;
    const recipe = await readRecipe(given);
    if (recipe !== undefined) {
      refuseOptions(command, ['episodes', 'policy', 'seed', 'set'], {
        where: given,
        what: 'the recipe itself says what is recorded',
        remedy: 'Change the recipe',
      });
      const { makeData, dataFolder } = await import('../../experiments/recording/make-data.js');
      await makeData({
        recipe,
        file: given,
        folder: options.output,
        modules: publicModules,
        signal,
        say,
        command: commandLine(),
      });
      process.stdout.write(`${dataFolder(options.output)}\n`);
      return;
    }
    const isRun = (await stat(given).catch(() => undefined))?.isDirectory() === true;
    const directory = isRun ? await openRunDirectory(given) : undefined;
    if (!isRun && options.policy.length === 0) {
      throw new ConfigError({
        where: given,
        what: 'a configuration has no checkpoints that could play',
        remedy: 'Give the folder of a run, or --policy random',
      });
    }
    const loaded = await loadConfig(
      directory?.files.config ?? given,
      await overridesOf({ set: options.set }),
      {
        modules: publicModules,
        ...(isRun ? { renamedKeys: 'read' as const } : {}),
      },
    );
    const set = await recordEpisodes({
      loaded,
      directory,
      mixture: {
        episodes: options.episodes,
        seed: options.seed,
        policies:
          options.policy.length > 0 ? [...options.policy] : [{ policy: 'latest', share: 1, noise: 0 }],
      },
      output: options.output,
      notice: say,
      signal,
    });
    for (const { name, episodes, meanReturn } of set.policies)
      say(`${episodes} episodes of ${name}: mean return ${meanReturn.toFixed(1)}`);
    say(`${set.episodes} episodes, ${set.steps.toLocaleString('en-US')} transitions`);
    process.stdout.write(`${join(options.output)}\n`);
  } finally {
    signals.dispose();
  }
}

/** `pmpo record`. */
export function addRecord(program: Command): void {
  program
    .command('record')
    .description('Record episodes of mixed policies as a data set for offline learning')
    .argument('<source>', 'the folder of a control run, its configuration (random actions), or a recipe')
    .requiredOption('--output <folder>', 'the folder of the data set')
    .option('--episodes <number>', 'number of episodes', wholeNumber(1), 100)
    .option(
      '--policy <name:share:noise>',
      'a policy that plays: random, latest, best or the step of a checkpoint; its share of the episodes; and the standard deviation of noise added to its actions. May be repeated; default: latest',
      parsePolicy,
      [],
    )
    .option('--set <key=value>', 'set a key of the configuration; may be repeated', collect)
    .option('--seed <number>', 'determines actions, and how episodes begin', wholeNumber(0), 0)
    .addHelpText(
      'after',
      `
The data set is one of Minari in HDF5, which Python's minari reads too. Its folder appears when it is whole.

A recipe is a file with a control configuration under \`config\`, and episodes, seed and policies: it trains the run, and records its
checkpoints to FOLDER/data. If it is stopped, the same command continues it.

Examples:
  npx pmpo record runs/cartpole_swingup-pmpo-seed0 --policy random:0.3 --policy 25000:0.4 --policy latest:0.3:0.2 --output data/cartpole
  npx pmpo record examples/cartpole.yaml --policy random --episodes 20 --output data/random
  npx pmpo record examples/offline/recipe.yaml --output data/reacher`,
    )
    .action(record);
}
