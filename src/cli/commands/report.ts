import { join } from 'node:path';
import type { Command } from 'commander';
import { commandLine } from '../options.js';

interface ReportOptions {
  readonly output?: string;
  readonly title?: string;
}

async function report(folders: readonly string[], options: ReportOptions): Promise<void> {
  const { joinReport } = await import('../../experiments/join-report.js');
  const single = folders.length === 1 ? join(folders[0]!, 'report.html') : 'report.html';
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
    .option('--output <file>', 'the page to write (default: report.html, in the folder if there is one)')
    .option('--title <text>', "the page's heading")
    .addHelpText(
      'after',
      `
Runs that differ only in their seed count as seeds of one label. Labels are the operators, with the settings that differ where an
operator was used with several. The report has a table of all settings that differ.

Examples:
  pmpo report runs/cartpole_swingup-pmpo-seed0 runs/cartpole_swingup-mpo-seed0
  pmpo report runs/compare-walker_walk runs/walker_walk-kto-seed0 --output walker.html
  pmpo report runs/cartpole_swingup-pmpo-seed0     # draws the run's own report again`,
    )
    .action(report);
}
