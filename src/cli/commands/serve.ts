import type { Command } from 'commander';
import { wholeNumber } from '../options.js';

const defaultPort = 9000;

/** `pmpo serve simulators`. */
export function addServe(program: Command): void {
  const serve = program
    .command('serve')
    .description('Host things for others to connect to')
    .addHelpText('after', `\nExamples:\n  pmpo serve simulators --port ${defaultPort}`);
  serve
    .command('simulators')
    .description('Host the embedded simulators as a dm_env_rpc server')
    .option('--host <host>', 'the interface to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--port <port>', 'the port; 0 for a free one', wholeNumber(0), defaultPort)
    .addHelpText(
      'after',
      `
The address is printed when the server listens. Ctrl-C ends it. Anyone who can reach the port can use it: there is no
password, so listen on other interfaces only in a network that you trust.

Examples:
  pmpo serve simulators
  pmpo serve simulators --host 0.0.0.0 --port 9001
  pmpo train examples/cartpole.yaml --set environment.address=127.0.0.1:${defaultPort}`,
    )
    .action(async ({ host, port }: { host: string; port: number }) => {
      const { serveSimulators } = await import('../../simulators/serve.js');
      const { handleSignals } = await import('../../run/signals.js');
      const server = await serveSimulators({ host, port });
      process.stdout.write(`Serving simulators on ${server.address} (Ctrl-C ends it)\n`);
      const signals = handleSignals();
      await new Promise<void>((resolve) => {
        signals.signal.addEventListener('abort', () => resolve(), { once: true });
      });
      await server.close();
      signals.dispose();
    });
}
