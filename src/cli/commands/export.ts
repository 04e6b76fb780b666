import type { Command } from 'commander';

/** `pmpo export`. */
export function addExport(program: Command): void {
  program
    .command('export')
    .description("Write a run's policy as an ONNX model")
    .argument('<dir>', 'the folder of the run')
    .option('--output <file>', 'the file to write; default: policy.onnx in the folder of the run')
    .addHelpText(
      'after',
      `
The input of the model is \`observation\` [B, O], all named observations concatenated in the order of their names. Its outputs are
\`action\` [B, A] in the simulator's units, and \`canonicalAction\` [B, A], the same action scaled to [-1, 1].

Examples:
  pmpo export runs/cartpole_swingup-pmpo-seed0
  pmpo export runs/cartpole_swingup-pmpo-seed0 --output cartpole.onnx`,
    )
    .action(async (folder: string, { output }: { output?: string }) => {
      const { loadConfig } = await import('../../config/load.js');
      const { publicModules } = await import('../../public-modules.js');
      const { openRunDirectory } = await import('../../run/run-directory.js');
      const { writeAtomically } = await import('../../system/atomic-file.js');
      const { exportRun } = await import('../../experiments/trained-policy.js');
      const directory = await openRunDirectory(folder);
      const file = output ?? directory.files.policy;
      await writeAtomically(file, [
        await exportRun(
          directory,
          await loadConfig(directory.files.config, [], { modules: publicModules, renamedKeys: 'read' }),
        ),
      ]);
      process.stdout.write(`${file}\n`);
    });
}
