import { cpus, totalmem } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ConfigError, exitCodes } from '../../core/errors.js';
import { packagedStudies } from '../../experiments/study/packaged.js';
import { commandLine, wholeNumber } from '../options.js';

interface ReproduceOptions {
  readonly scale?: string;
  readonly address?: string;
  readonly model?: string;
  readonly output: string;
  readonly jobs: number;
}

function studyFile(study: string): string {
  if (!packagedStudies.includes(study)) return study;
  return fileURLToPath(new URL(`../../../examples/reproduce/${study}.yaml`, import.meta.url));
}

function machine() {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
  };
}

async function reproduce(study: string, options: ReproduceOptions): Promise<void> {
  const { readStudy } = await import('../../experiments/study/schema.js');
  const { isBanditStudy } = await import('../../experiments/bandit/schema.js');
  const file = studyFile(study);
  const text = await readStudy(file);
  const given = { name: nameOf(study), file: relative(process.cwd(), file), text };
  return isBanditStudy(text) ? reproduceBandit(given, options) : reproduceRuns(given, options);
}

/** A study's name, its file as messages name it, and the text of that. */
interface GivenStudy {
  readonly name: string;
  readonly file: string;
  readonly text: string;
}

function nameOf(study: string): string {
  return packagedStudies.includes(study) ? study : basename(study).replace(/\.ya?ml$/, '');
}

async function provenance() {
  const { packageVersion } = await import('../../core/version.js');
  return {
    command: commandLine(),
    versions: { pmpo: packageVersion(), node: process.versions.node },
    machine: machine(),
  };
}

const say = (line: string) => process.stderr.write(`${line}\n`);

/** A study of bandits: all its searches, in this process, in minutes. */
async function reproduceBandit({ name, file, text }: GivenStudy, options: ReproduceOptions): Promise<void> {
  const { scale = 'full', address, model } = options;
  const unused = address !== undefined ? '--address' : model !== undefined ? '--model' : undefined;
  if (unused !== undefined) {
    throw new ConfigError({
      where: unused,
      what: 'a study of bandits needs no server',
      remedy: 'Leave it out',
    });
  }
  const { parseBanditStudy } = await import('../../experiments/bandit/schema.js');
  const { makeBanditStudy } = await import('../../experiments/bandit/make-bandit-study.js');
  const { writeBanditResults } = await import('../../experiments/bandit/results.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { createCatalogue } = await import('../../config/catalogue.js');
  const { loadPlugins } = await import('../../config/plugins.js');
  const { publicModules } = await import('../../public-modules.js');
  const study = parseBanditStudy(file, text, scale);
  const names = createCatalogue(publicModules);
  await loadPlugins(study.plugins, names, dirname(resolve(file)), publicModules);
  const started = performance.now();
  const signals = handleSignals({ onStop: () => say('Stopping … (again to stop at once)') });
  try {
    const made = await makeBanditStudy({
      study,
      file,
      names,
      jobs: options.jobs,
      say,
      signal: signals.signal,
    });
    const { user, system } = process.cpuUsage();
    const seconds = Math.round((performance.now() - started) / 1000);
    const processorSeconds = Math.round((user + system) / 1e6);
    const folder = join(options.output, `${name}-${scale}`, 'results');
    for (const path of await writeBanditResults(made, folder, {
      ...(await provenance()),
      seconds,
      processorSeconds,
    }))
      say(path);
  } finally {
    signals.dispose();
  }
}

/** A study of training runs, each in its own process. */
async function reproduceRuns({ name, file, text }: GivenStudy, options: ReproduceOptions): Promise<void> {
  const { parseStudy } = await import('../../experiments/study/schema.js');
  const { publicModules } = await import('../../public-modules.js');
  const { makeStudy } = await import('../../experiments/study/make-study.js');
  const { launcher, thisProgram } = await import('../../experiments/study/launch.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { scale = 'smoke' } = options;
  const signals = handleSignals({
    onStop: () => say('Stopping: the runs save checkpoints … (again to stop at once)'),
  });
  try {
    const { files, failures, interrupted } = await makeStudy({
      study: parseStudy(file, text),
      file,
      scale,
      folder: join(options.output, `${name}-${scale}`),
      address: options.address,
      model: options.model === undefined ? undefined : resolve(options.model),
      jobs: options.jobs,
      modules: publicModules,
      launch: (extra) => launcher(thisProgram(), extra),
      provenance: await provenance(),
      signal: signals.signal,
      say,
    });
    for (const path of files) say(path);
    for (const { path, message } of failures) say(`Failed: ${path}: ${message}`);
    if (interrupted) say('Stopped. Continue with the same command.');
    if (failures.length > 0 || interrupted) process.exitCode = exitCodes.failed;
  } finally {
    signals.dispose();
  }
}

/** `pmpo reproduce`. */
export function addReproduce(program: Command): void {
  program
    .command('reproduce')
    .description("Reproduce the paper's experiments: make all runs of a study, and its figures")
    .argument('<study>', `${packagedStudies.join(', ')}, or the path of your own study`)
    .option(
      '--scale <name>',
      'the size of the study, default: smoke (minutes), bandit: full (minutes); offline: smoke, laptop (an hour); control: laptop (hours), paper (days); baselines: tuning, laptop (hours); language: quick, tiny, gemma; parts: ablations, goals (many hours)',
    )
    .option(
      '--address <host:port>',
      "the server of the simulators, or the trainer; default: the study's server is started",
    )
    .option('--model <folder>', 'the language model of the trainer (language: gemma)')
    .option('--output <folder>', 'the folder in which the folder of the study is created', 'runs')
    .option(
      '--jobs <number>',
      'number of runs in parallel (with a trainer: one)',
      wholeNumber(1),
      Math.max(1, cpus().length),
    )
    .addHelpText(
      'after',
      `
If a study is stopped, the same command continues it, and finished runs are not repeated. Figures (SVG), all evaluations and
outcomes (CSV), and how they were made are written to STUDY-SCALE/results/ and updated whenever a run ends.

A study of bandits makes all its searches in one process, and is not continued.

Examples:
  npx pmpo reproduce bandit
  npx pmpo reproduce control --scale smoke
  npx pmpo reproduce control --scale laptop --jobs 2
  npx pmpo reproduce control --scale laptop --address simulators.example.org:50051
  npx pmpo reproduce language --scale gemma --model models/gemma3-270m`,
    )
    .action(reproduce);
}
