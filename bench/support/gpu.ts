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
  let text: string;
  try {
    text = listGpus();
  } catch {
    text = '';
  }
  const gpus = [...text.matchAll(/^GPU \d+: (.+?)(?: \(UUID.*)?$/gm)].map(([, name]) => name);
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
