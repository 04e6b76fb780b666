import { cpus, totalmem } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { exitCodes } from '../../core/errors.js';
import { commandLine, wholeNumber } from '../options.js';

interface ReproduceOptions {
  readonly scale: string;
  readonly address?: string;
  readonly model?: string;
  readonly output: string;
  readonly jobs: number;
}

/** The studies that come with the program, by name. */
const packaged = ['control', 'language'];

function studyFile(study: string): string {
  if (!packaged.includes(study)) return study;
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
  const { loadStudy } = await import('../../experiments/study/schema.js');
  const { publicModules } = await import('../../public-modules.js');
  const { makeStudy } = await import('../../experiments/study/make-study.js');
  const { launcher, thisProgram } = await import('../../experiments/study/launch.js');
  const { handleSignals } = await import('../../system/signals.js');
  const { packageVersion } = await import('../version.js');
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const file = studyFile(study);
  const name = packaged.includes(study) ? study : (file.split('/').at(-1) ?? '').replace(/\.ya?ml$/, '');
  const signals = handleSignals({
    onStop: () => say('Stopping: the runs save checkpoints … (again to stop at once)'),
  });
  try {
    const { files, failures, interrupted } = await makeStudy({
      study: await loadStudy(file),
      file: relative(process.cwd(), file),
      scale: options.scale,
      folder: join(options.output, `${name}-${options.scale}`),
      address: options.address,
      model: options.model === undefined ? undefined : resolve(options.model),
      jobs: options.jobs,
      modules: publicModules,
      launch: (extra) => launcher(thisProgram(), extra),
      provenance: {
        command: commandLine(),
        versions: { pmpo: packageVersion(), node: process.versions.node },
        machine: machine(),
      },
      signal: signals.signal,
      say,
    });
    for (const path of files) say(path);
    for (const { path, message } of failures) say(`Failed: ${path}: ${message}`);
    if (interrupted) say('Stopped. The same command goes on from here.');
    if (failures.length > 0 || interrupted) process.exitCode = exitCodes.failed;
  } finally {
    signals.dispose();
  }
}

/** `pmpo reproduce`. */
export function addReproduce(program: Command): void {
  program
    .command('reproduce')
    .description("Make the paper's experiments again: every run of a study, and its figures")
    .argument('<study>', `${packaged.join(', ')}, or the path of a study of your own`)
    .option(
      '--scale <name>',
      'how much of it: smoke (minutes); control: laptop (hours), paper (days); language: quick, tiny, gemma',
      'smoke',
    )
    .option(
      '--address <host:port>',
      "where the simulators or the trainer are; default: the study's server is started",
    )
    .option('--model <folder>', 'the language model that a trainer is started with (language: gemma)')
    .option('--output <folder>', 'the folder under which the study has its own', 'runs')
    .option(
      '--jobs <number>',
      'runs under way at once (with a trainer: one)',
      wholeNumber(1),
      Math.max(1, cpus().length),
    )
    .addHelpText(
      'after',
      `
Stopped at any time, the same command goes on where it was: nothing that is done is done again. Figures (SVG), every
evaluation and outcome (CSV) and how they were made stand in STUDY-SCALE/results/ and grow as runs end.

Examples:
  pmpo reproduce control --scale smoke
  pmpo reproduce control --scale laptop --jobs 2
  pmpo reproduce control --scale laptop --address simulators.example.org:50051
  pmpo reproduce language --scale gemma --model models/gemma3-270m`,
    )
    .action(reproduce);
}
