import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { pluginEnvironment, pluginFolder } from './plugin.js';
import { type PythonProgram, startPythonProgram } from './program.js';
import { ensureVirtualEnvironment, pythonFolder } from './virtual-environment.js';

/** The trainer of language models that comes as a Python program: plugins/torch-trainer. */

const folder = pluginFolder('torch-trainer');

/** PyTorch's launcher gives its processes 30 seconds to end before it kills them, and then has to end itself. */
const endSecondsOfProcesses = 45;

export interface TorchTrainerOptions {
  readonly host?: string;
  /** 0: any free one. */
  readonly port: number;
  /** Further arguments of the Python program: `--model DIR` and others. */
  readonly args: readonly string[];
  /** An interpreter that has PyTorch and all else; default: one is made, with the versions that this is tested with. */
  readonly python?: string;
  /** How long reading the model may take. */
  readonly startSeconds?: number;
  /** Told in plain lines what is being made, when something is. */
  readonly say: (line: string) => void;
  /** Told each line that the program logs while it runs. */
  readonly log?: (line: string) => void;
  /** Ends it before it listens, the making of its Python environment included. */
  readonly signal?: AbortSignal;
}

export interface TorchTrainer extends Pick<PythonProgram, 'ended' | 'close'> {
  /** host:port */
  readonly address: string;
}

/**
 * Starts the trainer: makes its Python environment if need be, starts the program and waits until it listens.
 *
 * @throws PmpoError when there is no Python, pip fails, or the program ends before it listens, in its own words.
 */
export async function startTorchTrainer(options: TorchTrainerOptions): Promise<TorchTrainer> {
  const { host = '127.0.0.1', port, args, startSeconds = 900, say, log, signal } = options;
  if (process.platform === 'win32') {
    throw new PmpoError({
      where: 'the trainer',
      what: 'it needs Linux or macOS',
      remedy: 'Start it in WSL or on another machine',
    });
  }
  const python =
    options.python ??
    (await ensureVirtualEnvironment({
      requirements: join(folder, 'requirements', 'trainer.txt'),
      folder: pythonFolder(),
      withDependencies: true,
      say,
      signal,
    }));
  const place = ['--host', host, '--port', String(port), '--until-stdin-closes'];
  const { ready, ended, close } = await startPythonProgram({
    name: 'the trainer',
    python,
    args: ['-m', 'pmpo_torch_trainer', ...place, ...args],
    env: pluginEnvironment(folder),
    readyLine: /^Serving .* on (\S+:\d+)/m,
    complaint: 'pmpo-torch-trainer: ',
    startSeconds,
    endSeconds: args.includes('--processes') ? endSecondsOfProcesses : undefined,
    log,
    signal,
  });
  return { address: ready, ended, close };
}
