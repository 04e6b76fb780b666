import { createRequire } from 'node:module';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { z } from 'zod';
import { packageVersion } from '../core/version.js';

/** Where a run was made: a line for each start, in `provenance.json`. */

const startSchema = z.object({
  /** When, in ISO 8601. */
  time: z.string(),
  /** The command, without secrets. */
  command: z.string(),
  /** The versions of pmpo, Node.js, and the packages that compute. */
  versions: z.record(z.string(), z.string()),
  machine: z.object({
    system: z.string(),
    processor: z.string(),
    cores: z.number(),
    memoryGigabytes: z.number(),
  }),
});

/** One start of a run: the first, or a resumption. */
export type RunStart = z.infer<typeof startSchema>;

/** Reads the starts of a run from what its file holds. @throws Error that says what is wrong with it. */
export function readRunStarts(value: unknown): RunStart[] {
  const result = z.array(startSchema).safeParse(value);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new Error(`${path.join('.')}: ${message}`);
}

/** The packages whose versions may change the numbers. Each is pinned to one version in package.json. */
const computing = {
  'ONNX Runtime': 'onnxruntime-node',
  'TensorFlow.js': '@tensorflow/tfjs-core',
  MuJoCo: '@mujoco/mujoco',
};

/** Describes a start of a run on this machine, now. */
export function describeStart(command: string, now = new Date()): RunStart {
  const { dependencies } = createRequire(import.meta.url)('../../package.json') as {
    dependencies: Readonly<Record<string, string>>;
  };
  const versions = Object.entries(computing).map(
    ([name, id]) => [name, dependencies[id] ?? 'unknown'] as const,
  );
  return {
    time: now.toISOString(),
    command,
    versions: { pmpo: packageVersion(), 'Node.js': process.versions.node, ...Object.fromEntries(versions) },
    machine: {
      system: `${platform()} ${release()}, ${arch()}`,
      processor: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    },
  };
}
