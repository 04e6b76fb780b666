import { type Command, InvalidArgumentError } from 'commander';
import type { Override } from '../config/source.js';
import { ConfigError } from '../core/errors.js';
import { withoutSecret } from '../core/secrets.js';
import { shellQuoted } from '../core/shell.js';

/** Options of the commands that read a configuration. */
export interface ConfigOptions {
  readonly set?: readonly string[];
  readonly operator?: string;
  readonly seed?: number;
  readonly output?: string;
  readonly name?: string;
}

/** The settings of the command line, in the order in which they apply: the operator first, so that `--set` can change its settings. */
export async function overridesOf(options: ConfigOptions): Promise<Override[]> {
  // The YAML parser is not loaded for commands that read no configuration.
  const { parseOverride } = await import('../config/source.js');
  const direct = (key: 'seed' | 'output' | 'name'): Override[] =>
    options[key] === undefined ? [] : [{ label: `--${key}`, path: [key], value: options[key] }];
  return [
    ...(options.operator === undefined
      ? []
      : [{ label: '--operator', path: ['operator', 'name'], value: options.operator }]),
    ...(options.set ?? []).map(parseOverride),
    ...direct('seed'),
    ...direct('output'),
    ...direct('name'),
  ];
}

/** Collects the values of an option that may be repeated: `--set a=1 --set b=2`. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}

/** Parses a whole number of at least `minimum`. @throws InvalidArgumentError */
export function wholeNumber(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < minimum) {
      throw new InvalidArgumentError(`It must be a whole number, at least ${minimum}.`);
    }
    return value;
  };
}

/** Parses the number of a port; 0 stands for any free one. @throws InvalidArgumentError */
export function portNumber(text: string): number {
  const port = wholeNumber(0)(text);
  if (port > 65_535) throw new InvalidArgumentError('It must be a port, from 0 to 65535.');
  return port;
}

/** Parses a list of names: `pmpo,mpo,dpo`. @throws InvalidArgumentError */
export function nameList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.some((name) => name === ''))
    throw new InvalidArgumentError('It must be names separated by commas.');
  if (new Set(names).size < names.length) throw new InvalidArgumentError('A name is repeated.');
  return names;
}

/** Parses the lengths of axes: `3,84,84`. @throws InvalidArgumentError */
export function lengthList(text: string): number[] {
  const lengths = text.split(',').map(Number);
  if (lengths.every((length) => Number.isSafeInteger(length) && length > 0)) return lengths;
  throw new InvalidArgumentError('It must be lengths of axes separated by commas.');
}

/** Adds the options for single settings, the output folder and the name of the run. */
export function addSettingOptions(command: Command): Command {
  return command
    .option('--set <key=value>', 'set a key of the configuration; may be repeated', collect)
    .option('--output <folder>', 'the folder in which the folder of the run is created')
    .option('--name <name>', "the run's name");
}

/** Adds all options that change settings of a configuration. */
export function addConfigOptions(command: Command): Command {
  return addSettingOptions(command)
    .option('--operator <name>', 'use this operator, with its default settings')
    .option('--seed <number>', 'the random seed', wholeNumber(0));
}

/**
 * Refuses options that do not apply to what a command was given.
 * @param names the options as keys: `episodes`.
 * @throws ConfigError naming those that the command line has.
 */
export function refuseOptions(
  command: Command,
  names: readonly string[],
  { where, what, remedy }: { readonly where: string; readonly what: string; readonly remedy: string },
): void {
  const given = names.filter((name) => command.getOptionValueSource(name) === 'cli');
  if (given.length === 0) return;
  const flags = given.map((name) => `--${name}`).join(', ');
  throw new ConfigError({ where, what: `${what}, so that ${flags} would do nothing`, remedy });
}

/** Adds the options that control how progress is shown. */
export function addOutputOptions(command: Command): Command {
  return command
    .option('--quiet', 'show errors only')
    .option('--json', 'show progress as JSON, one object per line on standard output');
}

/** The environment variable by which a program that starts this one says how a person would make the run again. */
const ownCommand = 'PMPO_COMMAND';

/** The command line as it was given, with quotes where a shell needs them and without secrets; or what the program that started this one says. */
export function commandLine(args: readonly string[] = process.argv.slice(2)): string {
  const said = process.env[ownCommand];
  if (said !== undefined && said !== '') return said;
  return ['npx pmpo', ...args.map(withoutSecret).map(shellQuoted)].join(' ');
}
