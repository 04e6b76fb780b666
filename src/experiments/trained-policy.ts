import type { LoadedConfig, LoadedOfflineConfig } from '../config/load.js';
import { ConfigError, PmpoError } from '../core/errors.js';
import { jobKind } from '../core/job-kind.js';
import { packageVersion } from '../core/version.js';
import { createEngine } from '../engine/create.js';
import { withBestPolicy } from '../learners/control/best-policy.js';
import { TrainedPolicy } from '../learners/control/policy.js';
import type { PolicyJobResult } from '../learners/control/train-options.js';
import type { Checkpoint } from '../run/checkpoints.js';
import type { BestEvaluation } from '../run/records.js';
import type { RunDirectory } from '../run/run-directory.js';
import { type ConnectOptions, numEvaluationEnvs, openEnvironments } from './environments.js';

/** The policy of a control or an offline run that has a checkpoint: evaluated, or exported. */

/** A configuration of a run whose policy acts. */
export type LoadedPolicyConfig = LoadedConfig | LoadedOfflineConfig;

/** The outcome of evaluating a policy. */
export interface RunEvaluation {
  /** The undiscounted return of each episode. */
  readonly returns: readonly number[];
  /** Environment steps, or updates of an offline run, for which the policy was trained. */
  readonly steps: number;
}

/** Which policy of a run: that of its newest checkpoint, or the one with the best evaluation up to there. */
export interface PolicyChoice {
  readonly best?: boolean;
}

/** The metadata of an exported policy about its run. */
function aboutPolicy(
  config: { readonly seed: number },
  { steps }: { readonly steps: number },
): Record<string, string> {
  return {
    'pmpo.version': packageVersion(),
    'pmpo.seed': String(config.seed),
    [jobKind(config) === 'offline' ? 'pmpo.updates' : 'pmpo.environmentSteps']: String(steps),
  };
}

/** Writes the last and the best policy of a job into its folder. @param steps the environment steps or updates that the job counts. */
export async function writePolicies(
  directory: RunDirectory,
  config: { readonly seed: number },
  { policy, best, bestPolicy }: Pick<PolicyJobResult, 'policy' | 'best' | 'bestPolicy'>,
  steps: number,
): Promise<void> {
  await directory.writePolicy(await policy.exportOnnx(aboutPolicy(config, { steps })));
  if (best === undefined || bestPolicy === undefined) return;
  await directory.writeBestPolicy(await bestPolicy.exportOnnx(aboutPolicy(config, best)));
}

interface ChosenPolicy {
  readonly checkpoint: Checkpoint;
  /** Environment steps for which it was trained. */
  readonly steps: number;
}

/**
 * The last policy of the newest checkpoint, and its best one on request: undefined if it has none.
 * @throws PmpoError if there is no checkpoint.
 */
async function findPolicies(
  directory: RunDirectory,
  config: object,
): Promise<{
  readonly file: string;
  readonly last: ChosenPolicy;
  best(): Promise<ChosenPolicy | undefined>;
}> {
  const { file, checkpoint, steps } = await directory.checkpoints.load();
  const last = { checkpoint, steps };
  const best = async () => {
    // The evaluation at the end of a run comes after its last checkpoint, which has the policy that was evaluated.
    const summary = await directory.readSummary(jobKind(config));
    if (summary?.best !== undefined && summary.best.steps === steps) return last;
    const found = withBestPolicy(checkpoint);
    return found && { checkpoint: found, steps: (checkpoint.metadata.best as BestEvaluation).steps };
  };
  return { file, last, best };
}

/** The checkpoint with a run's last or best policy. @throws PmpoError if there is no checkpoint, or no best policy in it. */
export async function choosePolicy(
  directory: RunDirectory,
  config: object,
  best: boolean,
): Promise<ChosenPolicy> {
  const found = await findPolicies(directory, config);
  const chosen = best ? await found.best() : found.last;
  if (chosen !== undefined) return chosen;
  throw new PmpoError({
    where: found.file,
    what: 'it has no best policy: there was no evaluation before it, or an earlier version saved it',
    remedy: 'Leave out --best to use its policy',
  });
}

/** Calls `use` with a policy of a run. */
async function withPolicy<T>(
  { engine: name, threads, ...config }: LoadedPolicyConfig['config'],
  { checkpoint, steps }: ChosenPolicy,
  use: (policy: TrainedPolicy, steps: number) => Promise<T>,
): Promise<T> {
  // An engine of its own, because its variables have the names that they have in the checkpoint.
  const engine = await createEngine(name, { threads });
  try {
    return await use(TrainedPolicy.fromCheckpoint(engine, config, checkpoint), steps);
  } finally {
    await engine.dispose();
  }
}

/** A policy as the bytes of an ONNX model. */
function exported(config: LoadedPolicyConfig['config'], chosen: ChosenPolicy): Promise<Uint8Array> {
  return withPolicy(config, chosen, (policy, steps) => policy.exportOnnx(aboutPolicy(config, { steps })));
}

/**
 * Plays whole episodes with a policy of a run, which takes the mode of its distribution. The
 * episodes start like those of the evaluations during training.
 *
 * @throws PmpoError if there is no checkpoint, a server does not answer, or the environments do not fit the policy.
 */
export async function evaluateRun(
  directory: RunDirectory,
  loaded: LoadedPolicyConfig,
  episodes: number,
  options: ConnectOptions & PolicyChoice,
): Promise<RunEvaluation> {
  const { environment: settings, ...config } = loaded.config;
  if (settings === undefined) {
    throw new ConfigError({
      where: directory.files.config,
      what: 'it has no environment in which the policy could be evaluated',
      remedy: 'Add `environment`, such as {simulator: cartpole_swingup}, to config.yaml',
    });
  }
  const environments = { ...config, environment: settings };
  const chosen = await choosePolicy(directory, loaded.config, options.best ?? false);
  return withPolicy(loaded.config, chosen, async (policy, steps) => {
    const numEnvs = numEvaluationEnvs(environments, episodes);
    const { environment, close } = await openEnvironments(environments, 'evaluation', numEnvs, options);
    try {
      return { returns: await policy.evaluate(environment, episodes, options.signal), steps };
    } finally {
      await close();
    }
  });
}

/** A policy of a run as the bytes of an ONNX model. @throws PmpoError if there is no checkpoint. */
export async function exportRun(
  directory: RunDirectory,
  { config }: LoadedPolicyConfig,
  { best = false }: PolicyChoice = {},
): Promise<Uint8Array> {
  return exported(config, await choosePolicy(directory, config, best));
}

/** A policy of a run as an ONNX model. */
export interface ExportedPolicy {
  readonly name: 'last' | 'best';
  /** Environment steps (offline: updates) for which it was trained. */
  readonly steps: number;
  readonly onnx: Uint8Array;
}

/**
 * The policies of a run's newest checkpoint: the last one, and the best one by evaluation if that is another.
 * @throws PmpoError if there is no checkpoint.
 */
export async function exportPolicies(
  directory: RunDirectory,
  { config }: LoadedPolicyConfig,
): Promise<readonly ExportedPolicy[]> {
  const { last, best: findBest } = await findPolicies(directory, config);
  const best = await findBest();
  const policies: ExportedPolicy[] = [
    { name: 'last', steps: last.steps, onnx: await exported(config, last) },
  ];
  if (best !== undefined && best.steps !== last.steps)
    policies.push({ name: 'best', steps: best.steps, onnx: await exported(config, best) });
  return policies;
}
