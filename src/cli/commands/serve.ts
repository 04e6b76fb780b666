import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { ConfigError } from '../../errors.js';
import type { PythonServerKind } from '../../python/simulator-server.js';
import { collect, wholeNumber } from '../options.js';

const defaultPort = 9000;
const defaultPythonPort = 50051;

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Runs `serve` with a signal that is aborted when a person or the system asks this process to stop. */
async function untilStopped(serve: (stop: AbortSignal) => Promise<void>): Promise<void> {
  const { handleSignals } = await import('../../run/signals.js');
  const { signal, dispose } = handleSignals();
  try {
    await serve(signal);
  } finally {
    dispose();
  }
}

function asked(stop: AbortSignal): Promise<void> {
  if (stop.aborted) return Promise.resolve();
  return new Promise((resolve) => stop.addEventListener('abort', () => resolve(), { once: true }));
}

function serveEmbedded({ host, port }: Place): Promise<void> {
  return untilStopped(async (stop) => {
    const { serveSimulators } = await import('../../simulators/serve.js');
    const server = await serveSimulators({ host, port });
    process.stdout.write(`Serving simulators on ${server.address} (Ctrl-C ends it)\n`);
    await asked(stop);
    await server.close();
  });
}

interface PythonServeOptions extends Place {
  readonly processes?: number;
  readonly tlsCertificate?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
  readonly tokenFile?: string;
  readonly allowImport?: readonly string[];
  readonly maxMessageMegabytes?: number;
  readonly verbose?: boolean;
}

/** The arguments of the Python program that these options stand for. */
function passedOn(options: PythonServeOptions): string[] {
  const { tlsCertificate, tlsKey, tlsClientCa, tokenFile, processes, maxMessageMegabytes } = options;
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new ConfigError({
      where: tlsKey === undefined ? '--tls-certificate' : '--tls-key',
      what: 'a certificate and its key go together',
      remedy: 'Give both --tls-certificate and --tls-key',
    });
  }
  if (tlsClientCa !== undefined && tlsCertificate === undefined) {
    throw new ConfigError({
      where: '--tls-client-ca',
      what: "it needs a certificate of the server's own",
      remedy: 'Give --tls-certificate and --tls-key too',
    });
  }
  const pair = (flag: string, value: string | number | undefined) =>
    value === undefined ? [] : [flag, String(value)];
  const path = (flag: string, file: string | undefined) =>
    pair(flag, file === undefined ? undefined : resolve(file));
  return [
    ...pair('--processes', processes),
    ...path('--tls-certificate', tlsCertificate),
    ...path('--tls-key', tlsKey),
    ...path('--tls-client-ca', tlsClientCa),
    ...path('--token-file', tokenFile),
    ...(options.allowImport ?? []).flatMap((module) => ['--allow-import', module]),
    ...pair('--max-message-megabytes', maxMessageMegabytes),
    ...(options.verbose === true ? ['--verbose'] : []),
  ];
}

function servePython(kind: PythonServerKind, options: PythonServeOptions): Promise<void> {
  const args = passedOn(options);
  const { host, port } = options;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  return untilStopped(async (signal) => {
    const { startPythonServer } = await import('../../python/simulator-server.js');
    const server = await startPythonServer({ kind, host, port, args, say, log: say, signal });
    process.stdout.write(`Serving ${kind} on ${server.address} (Ctrl-C ends it)\n`);
    await Promise.race([asked(signal), server.ended]);
    await server.close();
    const error = await server.ended;
    if (error !== undefined) throw error;
  });
}

function addPlace(command: Command, port: number): Command {
  return command
    .option('--host <host>', 'the interface to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--port <port>', 'the port; 0 for a free one', wholeNumber(0), port);
}

function addPython(serve: Command, kind: PythonServerKind, description: string, example: string): void {
  addPlace(serve.command(kind).description(description), defaultPythonPort)
    .option('--processes <number>', 'processes that simulate (default: two for each core)', wholeNumber(1))
    .option('--tls-certificate <pem>', "the server's certificate, with those that it is signed by")
    .option('--tls-key <pem>', 'its private key')
    .option('--tls-client-ca <pem>', 'clients must have a certificate of this authority')
    .option('--token-file <file>', 'clients must send the bearer token in this file')
    .option(
      '--allow-import <module>',
      'clients may have dm_env environments of this Python module made; may be given several times',
      collect,
    )
    .addOption(
      new Option('--max-message-megabytes <number>', 'larger messages are refused').argParser(wholeNumber(1)),
    )
    .option('--verbose', 'log worlds as they come and go')
    .addHelpText(
      'after',
      `
The first time, a Python environment with exact versions is made in the cache folder ($PMPO_CACHE, or pmpo in the
user's cache folder); PYTHON names the interpreter. Ctrl-C ends the server and all of its processes.

Examples:
  pmpo serve ${kind} --port ${defaultPythonPort}
  pmpo train ${example}`,
    )
    .action((options: PythonServeOptions) => servePython(kind, options));
}

/** `pmpo serve`. */
export function addServe(program: Command): void {
  const serve = program
    .command('serve')
    .description('Host simulators for others to connect to')
    .addHelpText(
      'after',
      `
Examples:
  pmpo serve simulators --port ${defaultPort}
  pmpo serve dm-control --port ${defaultPythonPort}
  pmpo serve gymnasium --port ${defaultPythonPort}`,
    );
  addPlace(
    serve.command('simulators').description('The embedded simulators, as a dm_env_rpc server'),
    defaultPort,
  )
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
    .action(serveEmbedded);
  addPython(
    serve,
    'dm-control',
    'The DeepMind Control Suite (Python), as a dm_env_rpc server',
    'examples/dm-control/walker-walk.yaml',
  );
  addPython(
    serve,
    'gymnasium',
    "Gymnasium's environments (Python), as a dm_env_rpc server",
    'examples/gymnasium/cartpole.yaml',
  );
}
