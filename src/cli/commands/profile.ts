import type { Command } from 'commander';
import { addConfigOptions, type ConfigOptions, overridesOf, wholeNumber } from '../options.js';

interface ProfileCommandOptions extends ConfigOptions {
  readonly steps: number;
  readonly trace?: string;
}

async function profile(file: string, options: ProfileCommandOptions): Promise<void> {
  const { loadConfig } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { writeAtomically } = await import('../../system/atomic-file.js');
  const { profileRun } = await import('../../experiments/profile/profile-run.js');
  const { profileText } = await import('../../experiments/profile/summary.js');
  const { traceText } = await import('../../experiments/profile/trace-events.js');
  const loaded = await loadConfig(file, await overridesOf(options), { modules: publicModules });
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  say(`Training for ${options.steps} steps after the first few hundred, to measure them …`);
  const signals = handleSignals();
  try {
    const found = await profileRun(loaded, { steps: options.steps, notice: say, signal: signals.signal });
    process.stdout.write(`${profileText(found)}\n`);
    if (options.trace !== undefined) {
      await writeAtomically(options.trace, traceText(found));
      say(`\nTrace: ${options.trace}, which ui.perfetto.dev opens`);
    }
  } finally {
    signals.dispose();
  }
}

/** `pmpo profile`. */
export function addProfile(program: Command): void {
  const command = program
    .command('profile')
    .description("Measure where a run's time goes")
    .argument('<config>', 'the configuration of a control job, a YAML file')
    .option('--steps <number>', 'environment steps to measure', wholeNumber(100), 2000)
    .option('--trace <file>', 'write a trace, which ui.perfetto.dev opens');
  addConfigOptions(command)
    .addHelpText(
      'after',
      `
It trains for a while without a run folder, and prints how long calls to the environments and to the compiled functions take, what the
main thread does, and which kernels of ONNX Runtime the updates consist of.

Examples:
  npx pmpo profile examples/cartpole.yaml
  npx pmpo profile examples/walker.yaml --set environment.address=127.0.0.1:50051 --trace trace.json`,
    )
    .action(profile);
}
