import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { PmpoError } from '../../src/core/errors.js';

/** What a machine needs for the benchmarks on a GPU. */
export interface GpuProbes {
  /** The output of `nvidia-smi -L`, a line for each GPU. @throws if there is no such program. */
  listGpus(): string;
  /** Starts ONNX Runtime on CUDA, and ends it. @throws PmpoError if it does not start. */
  startCuda(): Promise<void>;
}

/** The names of this machine's GPUs. @throws PmpoError that says what is missing, in one line. */
export async function requireGpu({ listGpus, startCuda }: GpuProbes): Promise<string[]> {
  let listing: string;
  try {
    listing = listGpus();
  } catch {
    listing = '';
  }
  const gpus = [...listing.matchAll(/^GPU \d+: (.+?)(?: \(UUID.*)?$/gm)].map(([, name]) => name);
  if (gpus.length === 0) {
    throw new PmpoError({
      where: 'bench gpu',
      what: 'this machine has no NVIDIA GPU that `nvidia-smi -L` lists',
      remedy: 'Run it on a machine with one and its driver; `npm run bench update` needs none',
    });
  }
  await startCuda();
  return gpus;
}

/**
 * Runs another benchmark in a process of its own, which says on this one's standard error how far it is.
 *
 * @param name its name, for the error
 * @returns what it prints
 * @throws PmpoError in one line if it fails
 */
export async function runBenchmark(name: string, command: string, args: readonly string[]): Promise<object> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve);
    child.once('error', reject);
  });
  const [output, code] = await Promise.all([text(child.stdout), ended]);
  if (code !== 0) {
    throw new PmpoError({
      where: 'bench gpu',
      what: `\`bench ${name}\` failed (${code === null ? 'a signal ended it' : `exit code ${code}`})`,
      remedy: 'What it said is above',
    });
  }
  return JSON.parse(output) as object;
}

/** Runs the benchmarks if the machine has what they need. @returns their results @throws PmpoError in one line */
export async function gpuBenchmarks(probes: GpuProbes, run: (name: string) => Promise<object>) {
  const gpus = await requireGpu(probes);
  return { benchmark: 'gpu', gpus, update: await run('update'), lmUpdate: await run('lm-update') };
}
