import type { Command } from 'commander';

/** `pmpo export`. */
export function addExport(program: Command): void {
  program
    .command('export')
    .description("Write a run's policy as an ONNX model")
    .argument('<dir>', 'the folder of the run')
    .option('--best', 'the policy with the best evaluation instead of the last')
    .option(
      '--output <file>',
      'the file to write; default: policy.onnx (with --best: policy-best.onnx) in the folder of the run',
    )
    .addHelpText(
      'after',
      `
The input of the model is \`observation\` [B, O], all named observations concatenated in the order of their names. Its outputs are
\`action\` [B, A] in the simulator's units, and \`canonicalAction\` [B, A], the same action scaled to [-1, 1]. The model's metadata
hold the names, shapes, places and bounds of both, the run's seed, its steps, and the version of pmpo.

Examples:
  npx pmpo export runs/cartpole_swingup-pmpo-seed0
  npx pmpo export runs/cartpole_swingup-pmpo-seed0 --best --output cartpole.onnx`,
    )
    .action(async (folder: string, { output, best = false }: { output?: string; best?: boolean }) => {
      const { loadPolicyConfig } = await import('../../config/load.js');
      const { publicModules } = await import('../../public-modules.js');
      const { openRunDirectory } = await import('../../run/run-directory.js');
      const { writeAtomically } = await import('../../system/atomic-file.js');
      const { exportRun } = await import('../../experiments/trained-policy.js');
      const directory = await openRunDirectory(folder);
      const file = output ?? (best ? directory.files.bestPolicy : directory.files.policy);
      await writeAtomically(file, [
        await exportRun(
          directory,
          await loadPolicyConfig(directory.files.config, [], { modules: publicModules, renamedKeys: 'read' }),
          { best },
        ),
      ]);
      process.stdout.write(`${file}\n`);
    });
}
