import { join, resolve } from 'node:path';
import type { LoadedConfig, ResolvedConfig } from '../../config/load.js';
import { PmpoError, StoppedError } from '../../core/errors.js';
import { fillNormal, foldIn, type RandomKey, randomKey } from '../../core/random-keys.js';
import { mean } from '../../core/statistics.js';
import { packageVersion } from '../../core/version.js';
import { recordedEnvironmentKey } from '../../datasets/transitions/minari.js';
import {
  MinariWriter,
  recorderName,
  requireReplaceable,
  type WrittenEpisode,
} from '../../datasets/transitions/write-minari.js';
import { createFamily } from '../../distributions/create.js';
import { createEngine } from '../../engine/create.js';
import { hostTensor } from '../../engine/tensors.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import { ActingNoise } from '../../learners/control/acting-noise.js';
import { ActingPolicy } from '../../learners/control/acting-policy.js';
import { headNoise, randomActions } from '../../learners/control/noise.js';
import { shapeInCheckpoint, shapeOf } from '../../learners/control/policy.js';
import { requireSameKind } from '../../learners/control/policy-fit.js';
import { type Checkpoint, readCheckpoint } from '../../run/checkpoints.js';
import type { RunDirectory } from '../../run/run-directory.js';
import { openEnvironments } from '../environments.js';
import { choosePolicy } from '../trained-policy.js';
import { episodesOf, type MixedPolicy, type Mixture, nameOf } from './recipe.js';
import { recordedEnvironment } from './recorded-environment.js';

/** Records episodes of mixed policies as a data set. Shapes: K environments, O observation size, A action dimensions. */

/** What `recordEpisodes` needs. */
export interface RecordOptions {
  /** The configuration of the environments, and of the run whose checkpoints play. */
  readonly loaded: LoadedConfig;
  /** The run; absent: random actions alone can be recorded. */
  readonly directory?: RunDirectory;
  readonly mixture: Mixture;
  /** The folder of the data set. */
  readonly output: string;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/** What was recorded. */
export interface RecordedSet {
  readonly episodes: number;
  readonly steps: number;
  readonly policies: readonly {
    readonly name: string;
    readonly episodes: number;
    readonly meanReturn: number;
  }[];
}

/** From observations [K, O] to canonical actions [K, A], at a step counted from 0. */
type Act = (observations: Float32Array, step: number) => Promise<Float32Array>;

/**
 * Plays episodes and writes them as a data set of Minari. The same run, mixture and versions give the same data.
 * @throws PmpoError if a checkpoint is missing or the simulators fail, and StoppedError if `signal` is aborted: then nothing is left.
 */
export async function recordEpisodes(options: RecordOptions): Promise<RecordedSet> {
  const { loaded, directory, mixture, output, signal, notice } = options;
  const { config } = loaded;
  await requireReplaceable(resolve(output));
  const chosen = await Promise.all(mixture.policies.map((mixed) => checkpointOf(mixed, config, directory)));
  const settings = { ...config, seed: mixture.seed };
  const engine = await createEngine(config.engine, { threads: config.threads });
  const made: { name: string; episodes: number; meanReturn: number }[] = [];
  let writer: MinariWriter | undefined;
  let steps = 0;
  try {
    for (const [i, mixed] of mixture.policies.entries()) {
      const count = episodesOf(mixture)[i]!;
      if (count === 0) continue;
      const numEnvs = Math.min(config.environment.numEnvs, count);
      const { environment, close } = await openEnvironments(settings, `recording ${i}`, numEnvs, {
        notice,
        signal,
        wholeEpisodes: true,
      });
      try {
        writer ??= await MinariWriter.create(output, {
          ...environment,
          observations: environment.observationLayout.parts,
          observationSize: environment.observationSize,
          actionMinimum: environment.actionMinimum,
          actionMaximum: environment.actionMaximum,
          actionValues: environment.actionValues,
        });
        const key = foldIn(foldIn(randomKey(mixture.seed), 'recording'), i);
        const acting = actingPolicy(config, environment, chosen[i]?.checkpoint, engine, `recording${i}`);
        const act = noisy(acting, environment, key, mixed.noise);
        const returns: number[] = [];
        for await (const episode of play(environment, count, act, signal)) {
          writer.add({ ...episode, policy: nameOf(mixed, chosen[i]?.steps) });
          returns.push(episode.rewards.reduce((a, b) => a + b, 0));
          steps += episode.rewards.length;
        }
        made.push({ name: nameOf(mixed, chosen[i]?.steps), episodes: count, meanReturn: mean(returns) });
      } finally {
        await close();
      }
    }
    await writer!.finish({
      dataset_id: 'pmpo/recorded-v0',
      algorithm_name: recorderName,
      description: made
        .map(
          ({ name, episodes, meanReturn }) =>
            `${episodes} episodes of ${name}: mean return ${meanReturn.toFixed(1)}`,
        )
        .join('; '),
      pmpo_version: packageVersion(),
      pmpo_mixture: mixture,
      [recordedEnvironmentKey]: recordedEnvironment(config.environment),
    });
    writer = undefined;
    return { episodes: made.reduce((sum, { episodes }) => sum + episodes, 0), steps, policies: made };
  } finally {
    await writer?.discard();
    await engine.dispose();
  }
}

/** A checkpoint that plays, and the step at which it was saved, if it was chosen by that. */
interface Chosen {
  readonly checkpoint: Checkpoint;
  readonly steps?: number;
}

async function checkpointOf(
  { policy }: MixedPolicy,
  config: object,
  directory?: RunDirectory,
): Promise<Chosen | undefined> {
  if (policy === 'random') return undefined;
  if (directory === undefined) {
    throw new PmpoError({
      where: `policy ${policy}`,
      what: 'a configuration has no checkpoints',
      remedy: 'Give the folder of a run, or the policy random',
    });
  }
  const { checkpoints } = directory;
  if (typeof policy === 'string') {
    const { checkpoint } = await choosePolicy(directory, config, policy === 'best');
    return { checkpoint };
  }
  const steps = await checkpoints.list();
  const at = steps.filter((step) => step <= policy).at(-1);
  if (at === undefined) {
    throw new PmpoError({
      where: directory.path,
      what: `it has no checkpoint at ${policy} or before; it has ${steps.join(', ') || 'none'}`,
      remedy: 'Train with checkpoint.every and checkpoint.keep that keep it',
    });
  }
  const name = `step-${String(at).padStart(12, '0')}.safetensors`;
  const { checkpoint } = await readCheckpoint(join(checkpoints.folder, name));
  return { checkpoint, steps: at };
}

type Engine = Awaited<ReturnType<typeof createEngine>>;

/** A policy that samples, or undefined for random actions. */
function actingPolicy(
  { policy }: Pick<ResolvedConfig, 'policy'>,
  environment: VectorEnvironment,
  checkpoint: Checkpoint | undefined,
  engine: Engine,
  prefix: string,
) {
  const family = createFamily(policy, environment.actionValues);
  if (checkpoint === undefined) return { family, acting: undefined };
  requireSameKind(shapeOf(environment), shapeInCheckpoint(checkpoint), 'Record in the simulator of the run');
  const variables = Object.entries(checkpoint.tensors).flatMap(([name, value]) =>
    name.startsWith('policy/')
      ? [[name.slice('policy/'.length), engine.variable(`${prefix}/${name}`, hostTensor(value))] as const]
      : [],
  );
  const { observationSize, actionSize } = environment;
  const spec = { config: { policy }, family, observationSize, actionSize };
  return { family, acting: new ActingPolicy(engine, spec, Object.fromEntries(variables)) };
}

/**
 * ρ of recorded continuous actions. It does not follow the learner's default, so that a recipe records the same data when that
 * changes.
 */
const recordedCorrelation = 0.95;

/** Acts by samples of a policy that are correlated in time, with noise added. */
function noisy(
  { family, acting }: ReturnType<typeof actingPolicy>,
  { numEnvs, actionValues, actionSize }: VectorEnvironment,
  key: RandomKey,
  noise: number,
): Act {
  const processes = Array.from(actionValues, (values) => ({
    correlation: values === 0 ? recordedCorrelation : 0,
  }));
  const correlated = new ActingNoise(numEnvs, processes, foldIn(key, 'acting'));
  return async (observations, step) => {
    const z = correlated.advance(step);
    const actions =
      acting === undefined
        ? randomActions(z, actionValues)
        : await acting.act(observations, headNoise(family, z), numEnvs);
    if (noise === 0) return actions;
    const added = fillNormal(foldIn(foldIn(key, 'noise'), step), new Float32Array(numEnvs * actionSize));
    return actions.map((action, i) => Math.min(1, Math.max(-1, action + noise * added[i]!)));
  };
}

/** Plays episodes to their end. Episode e of environment k counts if it is one of the first `count` in the order of e and then k. */
async function* play(
  environment: VectorEnvironment,
  count: number,
  act: Act,
  signal?: AbortSignal,
): AsyncGenerator<Omit<WrittenEpisode, 'policy'>> {
  const { numEnvs, observationSize: o, actionSize: a } = environment;
  const quota = Array.from({ length: numEnvs }, (_, k) => Math.ceil((count - k) / numEnvs));
  const open = quota.map(() => ({
    observations: [] as Float32Array[],
    actions: [] as Float32Array[],
    rewards: [] as number[],
  }));
  const done = quota.map(() => 0);
  let { observations } = await environment.reset();
  const rowOf = (values: Float32Array, k: number, size: number) => values.slice(k * size, (k + 1) * size);
  for (let step = 0; done.some((finished, k) => finished < quota[k]!); step++) {
    if (signal?.aborted)
      throw new StoppedError({ where: 'recording', what: 'it was stopped, and nothing was written' });
    const before = observations;
    const result = await environment.step(await act(observations, step));
    for (let k = 0; k < numEnvs; k++) {
      if (!result.ready[k]) continue;
      const episode = open[k]!;
      if (result.lost[k]) {
        open[k] = { observations: [], actions: [], rewards: [] };
        continue;
      }
      if (episode.observations.length === 0) episode.observations.push(rowOf(before, k, o));
      const terminated = Boolean(result.terminated[k]);
      if (!terminated && result.discounts[k] !== 1) {
        throw new PmpoError({
          where: `environment ${k}`,
          what: `a step that does not end the episode has the discount ${result.discounts[k]}, which a data set cannot hold`,
          remedy: 'Record in a simulator whose discount is 1 until the episode ends',
        });
      }
      episode.observations.push(rowOf(result.nextObservations, k, o));
      episode.actions.push(rowOf(result.actions, k, a));
      episode.rewards.push(result.rewards[k]!);
      if (!terminated && !result.truncated[k]) continue;
      if (done[k]! < quota[k]!) {
        done[k]! += 1;
        yield {
          observations: joined(episode.observations),
          actions: inUnits(joined(episode.actions), environment),
          rewards: Float64Array.from(episode.rewards),
          terminated,
        };
      }
      open[k] = { observations: [], actions: [], rewards: [] };
    }
    observations = result.currentObservations;
  }
  await environment.verifySteps();
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

/** Canonical actions in the environment's units. */
function inUnits(
  canonical: Float32Array,
  { actionMinimum, actionMaximum, actionValues }: VectorEnvironment,
): Float32Array {
  const size = actionMinimum.length;
  return canonical.map((value, i) => {
    const [low, high] = [actionMinimum[i % size]!, actionMaximum[i % size]!];
    const action = low + ((value + 1) / 2) * (high - low);
    return actionValues[i % size]! > 0 ? Math.round(action) : action;
  });
}
