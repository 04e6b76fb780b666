import type { Command } from 'commander';
import { portNumber } from '../options.js';
import { untilStopped } from '../until-stopped.js';

async function ui(folder: string, { port }: { readonly port: number }): Promise<void> {
  const { startLiveServer } = await import('../../report/live/server.js');
  const server = await startLiveServer({ folder, port });
  process.stderr.write(`Live page: ${server.url}\nCtrl-C ends it, and leaves the run as it is.\n`);
  await untilStopped(server);
}

/** `pmpo ui`. */
export function addUi(program: Command): void {
  program
    .command('ui')
    .description('Serve the report of a run that another process makes, and keep it up to date')
    .argument('<folder>', 'the folder of the run')
    .option('--port <number>', 'the port (default: a free one)', portNumber, 0)
    .addHelpText(
      'after',
      `
The page is served on this machine only (127.0.0.1), at an address with a token. To stop a run or have it save a checkpoint from its page,
start it with \`pmpo train --ui\`.

Example:
  npx pmpo ui runs/cartpole_swingup-pmpo-seed0`,
    )
    .action(ui);
}
