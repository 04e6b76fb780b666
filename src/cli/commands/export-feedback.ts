import type { Command } from 'commander';
import type { RegisteredFeedback } from '../../feedback/classifier.js';
import { chooseByOverrides } from '../chosen.js';
import { type ConfigOptions, collect, lengthList, overridesOf } from '../options.js';

interface Options extends ConfigOptions {
  readonly feedback?: string;
  readonly samples?: number;
  readonly sampleShape?: number[];
  readonly contextShape?: number[];
}

interface Chosen {
  readonly definition: RegisteredFeedback;
  readonly settings: Record<string, unknown>;
  /** N, where the configuration says it. */
  readonly samples?: number;
}

/** The classifier of a configuration, or of the command line alone. */
async function choose(file: string | undefined, { feedback, ...options }: Options): Promise<Chosen> {
  const overrides = await overridesOf(options);
  if (feedback !== undefined)
    overrides.unshift({ label: '--feedback', path: ['feedback', 'name'], value: feedback });
  if (file === undefined) {
    const { name, settings, catalogue } = await chooseByOverrides('feedback', overrides);
    return { definition: catalogue.feedback.get(name), settings };
  }
  const { loadJob } = await import('../../config/load.js');
  const { publicModules: modules } = await import('../../public-modules.js');
  const { config, catalogue } = await loadJob(file, overrides, { modules });
  const { name, ...settings } = config.feedback;
  return { definition: catalogue.feedback.get(name), settings, samples: config.learner.samples };
}

/** `pmpo export-feedback`. */
export function addExportFeedback(program: Command): void {
  program
    .command('export-feedback')
    .description(
      'Write a feedback classifier of tensor operations as an ONNX graph, for PyTorch, JAX and NumPy',
    )
    .argument('[config]', 'a configuration whose classifier is exported; or give --feedback')
    .option('--feedback <name>', 'the classifier, with its default settings')
    .option('--set <key=value>', 'set a key, such as feedback.value; may be repeated', collect)
    .option('--sample-shape <lengths>', 'the shape of one sample, such as 6, if it reads samples', lengthList)
    .option('--context-shape <lengths>', 'the shape of one context, if it reads contexts', lengthList)
    .requiredOption('-o, --output <file>', 'the file to write')
    .addHelpText(
      'after',
      `
The graph is open in the numbers of samples N and contexts B; settings stay as they are. In Python, \`pmpo.load_feedback(FILE)\` of the
package \`pmpo\` (plugins/python) runs it.

Examples:
  npx pmpo export-feedback --feedback top-k --set feedback.accept=1 -o best.onnx
  npx pmpo export-feedback examples/custom-feedback/reacher.yaml --sample-shape 2 -o torque-limit.onnx`,
    )
    .action(async (file: string | undefined, { output, ...options }: Options & { output: string }) => {
      const { exportFeedback } = await import('../../feedback/export.js');
      const { writeAtomically } = await import('../../system/atomic-file.js');
      const { definition, settings, samples } = await choose(file, options);
      const { sampleShape, contextShape } = options;
      const { model, metadata } = await exportFeedback(definition, settings, {
        samples,
        sampleShape,
        contextShape,
      });
      await writeAtomically(output, [model]);
      const reads = metadata.inputs.map(({ name, axes }) => `${name} [${axes.join(', ')}]`);
      process.stderr.write(`${metadata.name} reads ${reads.join(', ')}\n`);
      process.stdout.write(`${output}\n`);
    });
}
