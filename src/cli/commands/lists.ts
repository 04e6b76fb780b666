import type { Command } from 'commander';
import type { Catalogue } from '../../config/catalogue.js';
import type { Definition, Registry } from '../../core/registry.js';

async function catalogueOf(config: string | undefined): Promise<Catalogue> {
  const { publicModules } = await import('../../public-modules.js');
  if (config === undefined) return (await import('../../config/catalogue.js')).createCatalogue();
  return (await (await import('../../config/load.js')).loadJob(config, [], { modules: publicModules }))
    .catalogue;
}

function addList(
  program: Command,
  command: string,
  description: string,
  select: (catalogue: Catalogue) => Registry<Definition>,
): void {
  program
    .command(command)
    .description(description)
    .argument('[config]', 'a configuration whose plugins are listed, too')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `\nExamples:\n  npx pmpo ${command}\n  npx pmpo ${command} examples/cartpole.yaml --json`,
    )
    .action(async (config: string | undefined, options: { json?: boolean }) => {
      const { describeDefinitions } = await import('../describe.js');
      const definitions = select(await catalogueOf(config)).definitions();
      process.stdout.write(describeDefinitions(definitions, { json: options.json === true }));
    });
}

/** `pmpo operators`, `pmpo feedback`, `pmpo rewards`, `pmpo simulators`. */
export function addLists(program: Command): void {
  addList(
    program,
    'operators',
    'List the policy improvement operators and their settings',
    (c) => c.operators,
  );
  addList(program, 'feedback', 'List the feedback classifiers and their settings', (c) => c.feedback);
  addList(
    program,
    'rewards',
    'List the rewards that evaluate completions, and their settings',
    (c) => c.rewards,
  );
  addList(program, 'simulators', 'List the embedded simulators and their settings', (c) => c.simulators);
}
