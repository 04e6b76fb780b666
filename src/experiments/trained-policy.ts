import type { LoadedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { TrainedPolicy } from '../learners/control/policy.js';
import type { RunDirectory } from '../run/run-directory.js';
import {
  type ConnectOptions,
  connectEnvironments,
  numEvaluationEnvs,
  reachSimulators,
} from './environments.js';

/** The policy of a control run that has a checkpoint: evaluated, or exported. */

/** The outcome of evaluating a policy. */
export interface RunEvaluation {
  /** The undiscounted return of each episode. */
  readonly returns: readonly number[];
  /** Environment steps for which the policy was trained. */
  readonly steps: number;
}

/** Calls `use` with the policy of a run's newest checkpoint. */
async function withPolicy<T>(
  directory: RunDirectory,
  { config }: LoadedConfig,
  use: (policy: TrainedPolicy, steps: number) => Promise<T>,
): Promise<T> {
  const { checkpoint, steps } = await directory.checkpoints.load();
  const engine = await createEngine(config.engine, { threads: config.threads });
  try {
    return await use(TrainedPolicy.fromCheckpoint(engine, config, checkpoint), steps);
  } finally {
    await engine.dispose();
  }
}

/**
 * Plays whole episodes with the policy of a run's newest checkpoint, which takes the mode of its distribution. The
 * episodes start like those of the evaluations during training.
 *
 * @throws PmpoError if there is no checkpoint, a server does not answer, or the environments do not fit the policy.
 */
export function evaluateRun(
  directory: RunDirectory,
  loaded: LoadedConfig,
  episodes: number,
  options: ConnectOptions,
): Promise<RunEvaluation> {
  const { config } = loaded;
  return withPolicy(directory, loaded, async (policy, steps) => {
    const server = await reachSimulators(config, options);
    try {
      const numEnvs = numEvaluationEnvs(config, episodes);
      const environment = await connectEnvironments(config, server.addresses, 'evaluation', numEnvs, options);
      try {
        return { returns: await policy.evaluate(environment, episodes, options.signal), steps };
      } finally {
        await environment.close();
      }
    } finally {
      await server.close();
    }
  });
}

/** The policy of a run's newest checkpoint as the bytes of an ONNX model. @throws PmpoError if there is no checkpoint. */
export function exportRun(directory: RunDirectory, loaded: LoadedConfig): Promise<Uint8Array> {
  return withPolicy(directory, loaded, (policy) => policy.exportOnnx());
}
