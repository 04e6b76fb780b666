import type { LoadedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { TrainedPolicy } from '../learners/control/policy.js';
import type { RunDirectory } from '../run/run-directory.js';
import { connectWorlds, evaluationWorlds, reachSimulators, type WorldsOptions } from './worlds.js';

export interface RunEvaluation {
  /** Undiscounted returns, one for each episode. */
  readonly returns: readonly number[];
  /** Environment steps for which the policy was trained. */
  readonly steps: number;
}

/** Does something with the policy of a run's newest checkpoint. */
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
 * Plays whole episodes with the policy of a run's newest checkpoint, taking the actions that it prefers. The episodes
 * begin as those of the evaluations during training.
 *
 * @throws PmpoError when there is no checkpoint, nobody answers, or the worlds are of another kind.
 */
export function evaluateRun(
  directory: RunDirectory,
  loaded: LoadedConfig,
  episodes: number,
  options: WorldsOptions,
): Promise<RunEvaluation> {
  const { config } = loaded;
  return withPolicy(directory, loaded, async (policy, steps) => {
    const server = await reachSimulators(config, options);
    try {
      const size = evaluationWorlds(config, episodes);
      const worlds = await connectWorlds(config, server.addresses, 'evaluation', size, options);
      try {
        return { returns: await policy.evaluate(worlds, episodes, options.signal), steps };
      } finally {
        await worlds.close();
      }
    } finally {
      await server.close();
    }
  });
}

/** The policy of a run's newest checkpoint as the bytes of an ONNX model. @throws PmpoError when there is no checkpoint. */
export function exportRun(directory: RunDirectory, loaded: LoadedConfig): Promise<Uint8Array> {
  return withPolicy(directory, loaded, (policy) => policy.exportOnnx());
}
