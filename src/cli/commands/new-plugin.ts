import { mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.js';
import { checkAbsent, writeNewFile } from '../new-file.js';

/** The plugin that is copied, with its test, and its name in them. */
const template = fileURLToPath(new URL('../../../examples/new-plugin/', import.meta.url));
const templateName = 'my-classifier';
const endings = ['.ts', '.test.mjs'] as const;

/** @throws ConfigError if the files of a plugin cannot be written there. */
function checkPath(path: string): void {
  const name = basename(path);
  if (!/^[a-z][a-z0-9-]*$/.test(name) || /[/\\]$/.test(path)) {
    throw new ConfigError({
      where: path,
      what: 'it does not end with the name of a classifier',
      remedy: 'Use small letters, digits and hyphens, beginning with a letter, such as torque-limit',
    });
  }
  for (const ending of endings) checkAbsent(`${path}${ending}`, 'Choose another name');
}

async function newPlugin(path: string): Promise<void> {
  checkPath(path);
  const name = basename(path);
  const { createCatalogue } = await import('../../config/catalogue.js');
  if (
    createCatalogue()
      .feedback.definitions()
      .some((built) => built.name === name)
  ) {
    throw new ConfigError({
      where: name,
      what: 'a classifier of this name is built in',
      remedy: 'Choose another',
    });
  }
  await mkdir(dirname(path), { recursive: true }).catch((cause: Error) => {
    throw new ConfigError({ where: dirname(path), what: `it cannot be made: ${cause.message}`, cause });
  });
  for (const ending of endings) {
    const text = await readFile(join(template, `${templateName}${ending}`), 'utf8');
    await writeNewFile(`${path}${ending}`, text.replaceAll(templateName, name));
  }
  process.stderr.write(`${path}.ts and its test are written. Change both to what you mean, then
  node --test ${path}.test.mjs

It is used by these lines of a configuration:
  plugins: [${isAbsolute(path) ? path : `./${path}`}.ts] # from the folder of the configuration
  feedback: { name: ${name} }
`);
}

/** `pmpo new`. */
export function addNew(program: Command): void {
  program
    .command('new')
    .description('Write the beginning of a plugin')
    .command('plugin')
    .description('Write a feedback classifier with its test')
    .argument('<name>', "the classifier's name, with the path of a folder before it if you like")
    .addHelpText(
      'after',
      `
Writes NAME.ts, a classifier of a few lines, and NAME.test.mjs, which needs nothing but Node.js and pmpo, and makes their folder
if there is none. docs/feedback.md says what a
classifier is given.

Example:
  npx pmpo new plugin torque-limit && node --test torque-limit.test.mjs`,
    )
    .action(newPlugin);
}
