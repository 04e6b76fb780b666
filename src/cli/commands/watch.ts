import type { Command } from 'commander';
import { portNumber } from '../options.js';
import { untilStopped } from '../until-stopped.js';

async function watch(folders: readonly string[], { port }: { readonly port: number }): Promise<void> {
  const { watchRuns } = await import('../../experiments/watch-runs.js');
  const { publicModules } = await import('../../public-modules.js');
  const server = await watchRuns({ folders, port, modules: publicModules });
  process.stderr.write(`Watch: ${server.url}\nOpen it in a browser. Ctrl-C ends it.\n`);
  await untilStopped(server);
}

/** `pmpo watch`. */
export function addWatch(program: Command): void {
  program
    .command('watch')
    .description('Watch policies act in a browser, and push their bodies with the mouse')
    .argument(
      '<folders...>',
      'folders of runs with embedded simulators, or of comparisons; several are shown side by side',
    )
    .option('--port <number>', 'the port (default: a free one)', portNumber, 0)
    .addHelpText(
      'after',
      `
MuJoCo and the policy run in the page itself, which is served on this machine only (127.0.0.1), at an address with a token. The policies are
those of the newest checkpoint, and the best ones by evaluation. For other simulators, the episodes recorded in report.html can be played.

Examples:
  npx pmpo watch runs/cartpole_swingup-pmpo-seed0
  npx pmpo watch runs/walker_walk-pmpo-seed0 runs/walker_walk-mpo-seed0
  npx pmpo watch runs/compare-walker_walk`,
    )
    .action(watch);
}
