import { type Command, Option } from 'commander';
import { type Extra, extrasOf, type PythonServerKind } from '../../python/simulator-server.js';
import { collect, wholeNumber } from '../options.js';
import {
  aborted,
  addPlace,
  addSecurity,
  type Place,
  pair,
  type SecurityOptions,
  securityArguments,
  untilStopped,
} from './serve-options.js';
import { addServeTrainer } from './serve-trainer.js';

const defaultPort = 9000;
const defaultPythonPort = 50051;

function serveEmbedded({ host, port }: Place): Promise<void> {
  return untilStopped(async (stop) => {
    const [{ serveSimulators }, { isLocal }] = await Promise.all([
      import('../../simulators/serve.js'),
      import('../../grpc/security.js'),
    ]);
    const server = await serveSimulators({ host, port });
    process.stdout.write(`Serving simulators on ${server.address} (Ctrl-C ends it)\n`);
    if (!isLocal(server.address)) {
      process.stderr.write(
        `pmpo: anyone who can reach ${server.address} can use this server: it takes no token and does not encrypt\n`,
      );
    }
    await aborted(stop);
    await server.close();
  });
}

interface PythonServeOptions extends Place, SecurityOptions {
  readonly processes?: number;
  readonly allowImport?: readonly string[];
  readonly with?: readonly Extra[];
  readonly requirements?: readonly string[];
}

function servePython(kind: PythonServerKind, options: PythonServeOptions): Promise<void> {
  const args = [
    ...pair('--processes', options.processes),
    ...(options.allowImport ?? []).flatMap((module) => ['--allow-import', module]),
    ...securityArguments(options),
  ];
  const { host, port } = options;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return untilStopped(async (signal) => {
    const { startPythonServer } = await import('../../python/simulator-server.js');
    const { with: extras, requirements: additions } = options;
    const server = await startPythonServer({
      kind,
      extras,
      additions,
      host,
      port,
      args,
      say,
      log: say,
      signal,
    });
    process.stdout.write(`Serving ${kind} on ${server.address} (Ctrl-C ends it)\n`);
    await Promise.race([aborted(signal), server.ended]);
    await server.close();
    const error = await server.ended;
    if (error !== undefined) throw error;
  });
}

function addPython(serve: Command, kind: PythonServerKind, description: string, example: string): void {
  const command = addPlace(serve.command(kind).description(description), defaultPythonPort)
    .option('--processes <number>', 'number of simulating processes (default: two per core)', wholeNumber(1))
    .option(
      '--allow-import <module>',
      'allow clients to create environments of this Python module; may be repeated',
      collect,
    )
    .option(
      '--requirements <file>',
      "add the packages of this requirements file to the server's Python environment; may be repeated",
      collect,
    );
  const extras = extrasOf[kind];
  if (extras.length > 0)
    command.addOption(
      new Option('--with <packages...>', "add these packages to the server's Python environment").choices(
        extras,
      ),
    );
  addSecurity(command, 'log when worlds are created and destroyed')
    .addHelpText(
      'after',
      `
At the first start, a Python environment with exact versions is made in the cache folder ($PMPO_CACHE, or pmpo in the
user's cache folder); the environment variable PYTHON names the interpreter for that. Modules of --allow-import are found in the
working directory, in the folders of the environment variable PYTHONPATH, and among the installed packages. Ctrl-C ends the server
and all of its processes.

Examples:
  npx pmpo serve ${kind} --port ${defaultPythonPort}
  npx pmpo serve ${kind} --requirements requirements.txt --allow-import my_module
${extras.map((extra) => `  pmpo serve ${kind} --with ${extra}\n`).join('')}  pmpo train ${example}`,
    )
    .action((options: PythonServeOptions) => servePython(kind, options));
}

/** `pmpo serve`. */
export function addServe(program: Command): void {
  const serve = program
    .command('serve')
    .description('Serve simulators or a language model over gRPC')
    .addHelpText(
      'after',
      `
Examples:
  npx pmpo serve simulators --port ${defaultPort}
  npx pmpo serve dm-control --port ${defaultPythonPort}
  npx pmpo serve gymnasium --port ${defaultPythonPort}
  npx pmpo serve trainer --model models/gemma3-270m --lora-rank 8`,
    );
  addPlace(serve.command('simulators').description('Serve the embedded simulators (dm_env_rpc)'), defaultPort)
    .addHelpText(
      'after',
      `
The address is printed when the server listens. Ctrl-C ends the server. Everyone who can reach the port can use it without a
password, so listen on other interfaces only in a network that you trust.

Examples:
  npx pmpo serve simulators
  npx pmpo serve simulators --host 0.0.0.0 --port 9001
  npx pmpo train examples/cartpole.yaml --set environment.address=127.0.0.1:${defaultPort}`,
    )
    .action(serveEmbedded);
  addPython(
    serve,
    'dm-control',
    'Serve the DeepMind Control Suite (Python, dm_env_rpc)',
    'examples/dm-control/walker-walk.yaml',
  );
  addPython(
    serve,
    'gymnasium',
    "Serve Gymnasium's environments (Python, dm_env_rpc)",
    'examples/gymnasium/cartpole.yaml',
  );
  addServeTrainer(serve);
}
