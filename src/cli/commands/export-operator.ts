import type { Command } from 'commander';
import { ConfigError } from '../../core/errors.js';
import type { ExportedOperator } from '../../operators/export.js';
import type { RegisteredOperator } from '../../operators/operator.js';
import { chooseByOverrides } from '../chosen.js';
import { type ConfigOptions, collect, nameList, overridesOf } from '../options.js';

interface Options extends ConfigOptions {
  readonly kl?: string[];
  readonly decoupled?: boolean;
  readonly boundViolation?: boolean;
}

/** An operator, its settings and, where the configuration names them, the parts of the policy's KL. */
interface Chosen {
  readonly definition: RegisteredOperator;
  readonly settings: Record<string, unknown>;
  readonly klParts?: readonly string[];
}

const headParts: Readonly<Record<string, readonly string[]>> = {
  gaussian: ['mean', 'covariance'],
  categorical: ['categorical'],
};

/** The operator of a configuration, or of the command line alone. */
async function choose(file: string | undefined, options: Options): Promise<Chosen> {
  const overrides = await overridesOf(options);
  if (file !== undefined) {
    const { publicModules: modules } = await import('../../public-modules.js');
    const { loadJob } = await import('../../config/load.js');
    const job = await loadJob(file, overrides, { modules });
    const { name, ...settings } = job.config.operator;
    const klParts = job.kind === 'language' ? ['sequence'] : headParts[job.config.policy.head];
    if (klParts === undefined && options.kl === undefined) {
      throw new ConfigError({
        where: `${file}: policy.head`,
        what: `it is ${job.kind === 'control' ? job.config.policy.head : ''}, so the parts of the policy's KL are known only with the simulator`,
        remedy: 'Give --kl mean,covariance for a Gaussian head, or --kl categorical',
      });
    }
    return { definition: job.catalogue.operators.get(name), settings, klParts };
  }
  const { name, settings, catalogue } = await chooseByOverrides('operator', overrides);
  return { definition: catalogue.operators.get(name), settings };
}

/** What a user of the file can change, in one line. */
function summary({ metadata: { name, klParts, settings, state } }: ExportedOperator): string {
  const list = (items: readonly string[]) => (items.length === 0 ? 'none' : items.join(', '));
  const states = state.map(({ name: key }) => key);
  return `${name}: parts of the KL: ${list(klParts)}; settings that stay open: ${list(settings.open)}; state: ${list(states)}`;
}

/** `pmpo export-operator`. */
export function addExportOperator(program: Command): void {
  program
    .command('export-operator')
    .description("Write an operator's loss and gradients as an ONNX graph, for PyTorch, JAX and NumPy")
    .argument('[config]', 'a configuration whose operator is exported; or give --operator')
    .option('--operator <name>', 'the operator, with its default settings')
    .option('--set <key=value>', 'set a key, such as operator.alpha; may be repeated', collect)
    .option(
      '--kl <parts>',
      "the parts of the policy's KL: sequence, mean,covariance or categorical; default: those of the configuration, or sequence",
      nameList,
    )
    .option('--decoupled', "also take log-probs and the KL by part, for MPO's decoupled M-step")
    .option('--bound-violation', "also take the samples' distance from the action bounds")
    .requiredOption('-o, --output <file>', 'the file to write')
    .addHelpText(
      'after',
      `
The graph is open in the numbers of samples N and contexts B, in the sizes of the KL's parts, and in numeric settings. In Python,
\`pmpo.load(FILE)\` of the package \`pmpo\` (plugins/python) runs it.

Examples:
  npx pmpo export-operator --operator pmpo --set operator.beta=2 -o pmpo.onnx
  npx pmpo export-operator --operator mine --set plugins=[./mine.ts] --kl mean,covariance -o mine.onnx
  npx pmpo export-operator examples/language/tiny.yaml -o operator.onnx`,
    )
    .action(async (file: string | undefined, { output, ...options }: Options & { output: string }) => {
      const { exportOperator } = await import('../../operators/export.js');
      const { writeAtomically } = await import('../../system/atomic-file.js');
      const { definition, settings, klParts = ['sequence'] } = await choose(file, options);
      const exported = await exportOperator(definition, settings, {
        klParts: options.kl ?? klParts,
        decoupled: options.decoupled,
        boundViolation: options.boundViolation,
      });
      await writeAtomically(output, [exported.model]);
      process.stderr.write(`${summary(exported)}\n`);
      process.stdout.write(`${output}\n`);
    });
}
