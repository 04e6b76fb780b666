import { Command, CommanderError } from 'commander';
import { exitCodes, PmpoError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { packageVersion } from '../core/version.js';
import { addAct } from './commands/act.js';
import { addCompare } from './commands/compare.js';
import { addData } from './commands/data.js';
import { addDoctor } from './commands/doctor.js';
import { addEval } from './commands/eval.js';
import { addExport } from './commands/export.js';
import { addExportFeedback } from './commands/export-feedback.js';
import { addExportOperator } from './commands/export-operator.js';
import { addInit } from './commands/init.js';
import { addLists } from './commands/lists.js';
import { addNew } from './commands/new-plugin.js';
import { addProfile } from './commands/profile.js';
import { addRecord } from './commands/record.js';
import { addReport } from './commands/report.js';
import { addReproduce } from './commands/reproduce.js';
import { addSchema } from './commands/schema.js';
import { addServe } from './commands/serve.js';
import { addTrain } from './commands/train.js';
import { addUi } from './commands/ui.js';
import { addWatch } from './commands/watch.js';
import { addWinrate } from './commands/winrate.js';

const examples = `
Examples:
  pmpo train examples/cartpole.yaml
  pmpo train examples/cartpole.yaml --operator mpo --seed 1
  pmpo train examples/cartpole.yaml --set environment.address=127.0.0.1:9000
  pmpo compare examples/cartpole.yaml --operators pmpo,mpo,dpo --seeds 3
  pmpo serve simulators --port 9000

Exit codes: 0 done, 1 failed, 2 bad usage or configuration.`;

/** Builds the command line. A command sets `process.exitCode` if it fails without throwing an error. */
export function createProgram(): Command {
  const program = new Command('pmpo')
    .description(
      'Improves a policy from accepted samples, rejected samples, or both, on simulators and language models reached over gRPC.',
    )
    .version(packageVersion())
    .showHelpAfterError('See `npx pmpo --help`.')
    .addHelpText('after', examples)
    .exitOverride();
  addInit(program);
  addNew(program);
  addTrain(program);
  addData(program);
  addAct(program);
  addEval(program);
  addProfile(program);
  addCompare(program);
  addWinrate(program);
  addRecord(program);
  addReport(program);
  addUi(program);
  addWatch(program);
  addReproduce(program);
  addServe(program);
  addExport(program);
  addExportOperator(program);
  addExportFeedback(program);
  addLists(program);
  addDoctor(program);
  addSchema(program);
  for (const command of program.commands) {
    command.showHelpAfterError(`See \`npx pmpo ${command.name()} --help\`.`);
  }
  return program;
}

/** Makes a command and its subcommands throw a CommanderError where commander would exit the process. */
function throwAtExit(command: Command): void {
  command.exitOverride();
  command.commands.forEach(throwAtExit);
}

/**
 * Runs the command line. Errors that a person can act on are printed as one message; any other error is a bug and is printed
 * with its stack trace.
 * @returns the exit code.
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  const program = createProgram();
  throwAtExit(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    // Commander has printed its own message already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    if (error instanceof PmpoError) {
      process.stderr.write(`pmpo: ${error.message}\n`);
      return error.exitCode;
    }
    const stack = String((error as Error)?.stack ?? error).split('\n');
    const lines = stack.map((line) => foreignText(line, 2000)).join('\n');
    process.stderr.write(`pmpo: this is a bug in pmpo or in a plugin: ${lines}\n`);
    return exitCodes.failed;
  }
}
