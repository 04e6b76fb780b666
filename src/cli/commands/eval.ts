import type { Command } from 'commander';
import type { Override } from '../../config/source.js';
import { exitCodes } from '../../core/errors.js';
import { wholeNumber } from '../options.js';

interface EvalOptions {
  readonly episodes: number;
  readonly address?: string;
  readonly best?: boolean;
  readonly json?: boolean;
}

async function evaluate(folder: string, { episodes, address, best, json }: EvalOptions): Promise<void> {
  const { loadPolicyConfig } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { openRunDirectory } = await import('../../run/run-directory.js');
  const { jobKind, jobTerms } = await import('../../run/job-terms.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { mean, standardDeviation } = await import('../../core/statistics.js');
  const { evaluateRun } = await import('../../experiments/trained-policy.js');
  const directory = await openRunDirectory(folder);
  const override: Override[] =
    address === undefined ? [] : [{ label: '--address', path: ['environment', 'address'], value: address }];
  const loaded = await loadPolicyConfig(directory.files.config, override, {
    modules: publicModules,
    renamedKeys: 'read',
  });
  const signals = handleSignals();
  const { returns, steps } = await evaluateRun(directory, loaded, episodes, {
    notice: (message) => void process.stderr.write(`${message}\n`),
    signal: signals.signal,
    best,
  });
  signals.dispose();
  if (signals.signal.aborted) {
    process.stderr.write('Stopped before the last episode ended.\n');
    process.exitCode = exitCodes.failed;
    return;
  }
  const meanScore = mean(returns);
  const stdScore = standardDeviation(returns);
  const { stepUnit, steps: stepWord, scoreName } = jobTerms[jobKind(loaded.config)];
  process.stdout.write(
    json === true
      ? `${JSON.stringify({ steps, stepUnit, scoreName, scoreCount: returns.length, meanScore, stdScore, scores: returns })}\n`
      : `Return ${meanScore.toFixed(1)} ± ${stdScore.toFixed(1)} over ${returns.length} episodes, after ${steps} ${stepWord} of training\n`,
  );
}

/** `pmpo eval`. */
export function addEval(program: Command): void {
  program
    .command('eval')
    .description("Evaluate a run's policy with its most likely actions")
    .argument('<dir>', 'the folder of the run')
    .option('--episodes <number>', 'number of episodes', wholeNumber(1), 10)
    .option('--address <host:port>', 'the server of the simulators; default: that of the run')
    .option('--best', 'the policy with the best evaluation instead of the last')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
The episodes start like those of the evaluations during training, so the same command gives the same numbers.

Examples:
  npx pmpo eval runs/cartpole_swingup-pmpo-seed0
  npx pmpo eval runs/cartpole_swingup-pmpo-seed0 --episodes 100 --address 127.0.0.1:9000 --json`,
    )
    .action(evaluate);
}
