import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { commandLine } from '../options.js';

interface ReportOptions {
  readonly output?: string;
  readonly title?: string;
}

/** Whether this is the folder of one run, whose own report is drawn again. */
const isRun = (folders: readonly string[]) =>
  folders.length === 1 && existsSync(join(folders[0]!, 'config.yaml'));

async function report(folders: readonly string[], options: ReportOptions): Promise<void> {
  const { joinReport } = await import('../../experiments/join-report.js');
  const single = folders.length === 1 ? join(folders[0]!, 'report.html') : 'report.html';
  if (options.output === undefined && existsSync(single) && !isRun(folders)) {
    throw new ConfigError({
      where: single,
      what: 'there is a report already, as of a comparison, and this one would replace it',
      remedy: 'Name another file with --output, or this one to replace it',
    });
  }
  const output = options.output ?? single;
  const runs = await joinReport({ folders, output, title: options.title, command: commandLine() });
  process.stderr.write(`Report of ${runs.length} ${runs.length === 1 ? 'run' : 'runs'}: ${output}\n`);
}

/** `pmpo report`. */
export function addReport(program: Command): void {
  program
    .command('report')
    .description('Draw one report of runs that were made before')
    .argument('<folders...>', 'folders of runs, or of comparisons')
    .option(
      '--output <file>',
      'the page to write (default: report.html, in the folder if one is given, otherwise in the working directory)',
    )
    .option('--title <text>', "the page's heading")
    .addHelpText(
      'after',
      `
Runs that differ only in their seed count as seeds of one label. Labels are the operators, with the settings that differ where an
operator was used with several. The report has a table of all settings that differ.

Examples:
  npx pmpo report runs/cartpole_swingup-pmpo-seed0 runs/cartpole_swingup-mpo-seed0
  npx pmpo report runs/compare-walker_walk runs/walker_walk-kto-seed0 --output walker.html
  npx pmpo report runs/cartpole_swingup-pmpo-seed0     # draws the run's own report again`,
    )
    .action(report);
}
