import { relative } from 'node:path';
import type { Command } from 'commander';
import type { LoadedJob } from '../../config/load.js';
import { ConfigError, exitCodes } from '../../core/errors.js';
import type { RunOptions, RunResult } from '../../experiments/run-lifecycle.js';
import { resumeCommand } from '../../run/resume-command.js';
import type { RunDirectory } from '../../run/run-directory.js';
import {
  addConfigOptions,
  addOutputOptions,
  type ConfigOptions,
  commandLine,
  overridesOf,
  portNumber,
} from '../options.js';

interface TrainOptions extends ConfigOptions {
  readonly resume?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly ui?: boolean;
  readonly uiPort?: number;
}

/** Loads the configuration of a new run, or of the run to resume together with its folder. */
async function load(
  file: string | undefined,
  options: TrainOptions,
): Promise<{ readonly job: LoadedJob; readonly resume?: RunDirectory }> {
  const { loadJob } = await import('../../config/load.js');
  const { publicModules } = await import('../../public-modules.js');
  const { openRunDirectory } = await import('../../run/run-directory.js');
  if (options.resume === undefined) {
    if (file === undefined) {
      throw new ConfigError({
        what: 'no configuration is given',
        remedy: 'Give one, such as `npx pmpo train examples/cartpole.yaml`, or a run to resume: --resume DIR',
      });
    }
    return { job: await loadJob(file, await overridesOf(options), { modules: publicModules }) };
  }
  const { changeable, mayBeSet } = await import('../../experiments/resume.js');
  const changed = (await overridesOf(options)).filter(({ path }) => !mayBeSet(path.join('.')));
  if (file !== undefined || changed.length > 0) {
    throw new ConfigError({
      where: `--resume ${options.resume}`,
      what: `a run is resumed with the configuration that it was started with, not with ${file ?? changed[0].label}`,
      remedy: `Only ${changeable.join(', ')} may be changed`,
    });
  }
  const resume = await openRunDirectory(options.resume);
  return {
    resume,
    job: await loadJob(resume.files.config, await overridesOf(options), {
      modules: publicModules,
      renamedKeys: 'read',
    }),
  };
}

/** A path relative to the working directory, if it lies below it. */
function relativePath(path: string): string {
  const local = relative(process.cwd(), path);
  return local.startsWith('..') ? path : local || '.';
}

async function makeJob(job: LoadedJob, options: RunOptions): Promise<RunResult> {
  if (job.kind === 'control') {
    const { trainRun } = await import('../../experiments/train-run.js');
    return trainRun({ ...options, loaded: job });
  }
  if (job.kind === 'offline') {
    const { trainOfflineRun } = await import('../../experiments/offline-run.js');
    return trainOfflineRun({ ...options, loaded: job });
  }
  const { trainLanguageRun } = await import('../../experiments/language-run.js');
  return trainLanguageRun({ ...options, loaded: job });
}

async function train(file: string | undefined, options: TrainOptions): Promise<void> {
  const { handleSignals } = await import('../../system/signals.js');
  const { progressMode } = await import('../../run/progress.js');
  const { job, resume } = await load(file, options);
  const say = (line: string) => {
    if (options.quiet !== true) process.stderr.write(`${line}\n`);
  };
  const signals = handleSignals({
    onStop: () => say('Stopping: saving a checkpoint … (again to stop at once)'),
  });
  const ui = options.ui === true || options.uiPort !== undefined ? await uiOf(options, say) : undefined;
  try {
    const { directory, summary } = await makeJob(job, {
      resume,
      progressMode: progressMode({ ...options, isTerminal: process.stderr.isTTY === true }),
      command: commandLine(),
      signal: ui === undefined ? signals.signal : AbortSignal.any([signals.signal, ui.stopped]),
      checkpointRequested: ui?.checkpointRequested,
      say,
      onStart: (run: RunDirectory) => {
        say(`${resume === undefined ? 'Run' : 'Resuming'}: ${relativePath(run.path)}`);
        ui?.serve(run.path);
      },
    });
    if (summary === undefined) {
      process.stderr.write(`Stopped. Resume with: ${resumeCommand(relativePath(directory.path))}\n`);
      process.exitCode = exitCodes.failed;
    }
  } finally {
    await ui?.close();
    signals.dispose();
  }
}

/** The live page of the run, and what its buttons have asked for. */
async function uiOf({ uiPort = 0 }: TrainOptions, say: (line: string) => void) {
  const { startLivePage } = await import('../../report/live/live-page.js');
  const stop = new AbortController();
  let isCheckpointAsked = false;
  let page: ReturnType<typeof startLivePage> | undefined;
  return {
    stopped: stop.signal,
    checkpointRequested() {
      const was = isCheckpointAsked;
      isCheckpointAsked = false;
      return was;
    },
    serve(folder: string) {
      page = startLivePage({
        folder,
        port: uiPort,
        onUrl: (url) => process.stderr.write(`Live page: ${url}\n`),
        onFailure: (message) => say(`The live page is not served: ${message}`),
        onCommand: (command) => {
          if (command === 'checkpoint') isCheckpointAsked = true;
          else if (!stop.signal.aborted) {
            say('Stopped from the live page: saving a checkpoint …');
            stop.abort('UI');
          }
        },
      });
    },
    close: async () => page?.close(),
  };
}

/** `pmpo train`. */
export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('Train a policy')
    .argument('[config]', 'the configuration, a YAML file');
  addConfigOptions(command);
  addOutputOptions(command)
    .option(
      '--resume <dir>',
      'resume the run in this folder from its newest checkpoint, with its configuration; --set may change only its total (learner.environmentSteps or learner.updates), addresses of servers, evaluation, checkpoint, engine and threads',
    )
    .option(
      '--ui',
      'serve the report while the run goes on, on this machine only, with buttons to stop and to save',
    )
    .option('--ui-port <number>', 'the port of that page (default: a free one)', portNumber)
    .addHelpText(
      'after',
      `
A run writes a folder with config.yaml, metrics.jsonl, TensorBoard events, checkpoints, policy.onnx, policy-best.onnx (the
policy with the best evaluation), summary.json and report.html. Ctrl-C saves a checkpoint, prints the command that resumes
the run, and exits with 1.

Examples:
  npx pmpo train examples/cartpole.yaml
  npx pmpo train examples/cartpole.yaml --set learner.environmentSteps=5000     # a short try, of seconds
  npx pmpo train examples/cartpole.yaml --operator mpo --seed 1
  npx pmpo train examples/cartpole.yaml --set operator.alpha=1 --set 'policy.hidden=[256, 256]'
  npx pmpo train examples/cartpole.yaml --set environment.address=127.0.0.1:9000
  npx pmpo train --resume runs/cartpole_swingup-pmpo-seed0
  npx pmpo train --resume runs/cartpole_swingup-pmpo-seed0 --set learner.environmentSteps=200000   # extends a run`,
    )
    .action(train);
}
