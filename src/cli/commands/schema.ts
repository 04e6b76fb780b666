import type { Command } from 'commander';

/** `pmpo schema`. */
export function addSchema(program: Command): void {
  program
    .command('schema')
    .description('Print the JSON Schema of a configuration, for editors')
    .addHelpText(
      'after',
      `
Examples:
  npx pmpo schema > pmpo.schema.json

For editors with a YAML language server, make this the first line of a configuration:
  # yaml-language-server: $schema=pmpo.schema.json
The package has the schema as examples/pmpo.schema.json, which its examples name.`,
    )
    .action(async () => {
      const { createCatalogue } = await import('../../config/catalogue.js');
      const { jsonSchema } = await import('../../config/job-kinds.js');
      process.stdout.write(`${JSON.stringify(jsonSchema(createCatalogue()), null, 2)}\n`);
    });
}
