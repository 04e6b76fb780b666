import { createRequire } from 'node:module';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { packageVersion } from '../core/version.js';

/** Where a run was made: a line for each start, in `provenance.json`. */

/** One start of a run: the first, or a resumption. */
export interface RunStart {
  /** When, in ISO 8601. */
  readonly time: string;
  /** The command, without secrets. */
  readonly command: string;
  /** The versions of pmpo, Node.js, and the packages that compute. */
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: {
    readonly system: string;
    readonly processor: string;
    readonly cores: number;
    readonly memoryGigabytes: number;
  };
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
