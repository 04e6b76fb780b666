import { addressesOf } from '../config/control-schema.js';
import type { ResolvedConfig } from '../config/load.js';
import { connectOverSharedStreams } from '../dm-env-rpc/client/shared-streams.js';
import { createVectorEnvironment } from '../environments/create-vector-environment.js';
import { EpisodeRecorder } from '../environments/episode-recorder.js';
import { episodeSeed } from '../environments/episode-seed.js';
import type { VectorEnvironment } from '../environments/vector-environment.js';
import { startEmbeddedServer } from '../simulators/embedded-server.js';

/** The environments of a control run, from its configuration. */

/** The settings of a run's environments. */
export type EnvironmentConfig = Pick<ResolvedConfig, 'environment' | 'seed'> & {
  readonly evaluation: Pick<ResolvedConfig['evaluation'], 'maxEpisodeSteps'>;
};

/** What connecting to simulators needs besides their configuration. */
export interface ConnectOptions {
  /**
   * Whether whole episodes are played, as an evaluation does: every step waits for all environments, and an episode ends after
   * evaluation.maxEpisodeSteps. Default: for the purpose `evaluation` alone.
   */
  readonly wholeEpisodes?: boolean;
  /** Receives messages for people: lost connections and reconnections. */
  readonly notice: (message: string) => void;
  /** Aborted: waiting for a lost server ends. */
  readonly signal?: AbortSignal;
}

/** The servers of a run's simulators. */
export interface SimulatorServer {
  /** Stream s connects to address s modulo their number. */
  readonly addresses: readonly string[];
  /** Stops the embedded server; has no effect on any other. */
  close(): Promise<void>;
}

/** Starts the embedded server if the configuration names no address. @throws PmpoError if it does not start. */
export async function reachSimulators(
  { environment }: Pick<EnvironmentConfig, 'environment'>,
  { notice }: ConnectOptions,
): Promise<SimulatorServer> {
  if (environment.address === undefined) {
    const { address, close } = await startEmbeddedServer({ onCrash: (error) => notice(error.message) });
    return { addresses: [address], close };
  }
  return { addresses: addressesOf(environment), close: async () => {} };
}

/**
 * Connects to `numEnvs` environments of the configured kind.
 * @param purpose `acting`, `evaluation`, … Environments for different purposes play different episodes.
 * @param options with `recorder`, the episodes of the first environment can be recorded.
 * @throws PmpoError if a server does not answer or refuses.
 */
export function connectEnvironments(
  { environment, evaluation, seed }: EnvironmentConfig,
  addresses: readonly string[],
  purpose: string,
  numEnvs: number,
  {
    notice,
    signal,
    recorder,
    wholeEpisodes = purpose === 'evaluation',
  }: ConnectOptions & { readonly recorder?: EpisodeRecorder },
): Promise<VectorEnvironment> {
  const {
    simulator,
    createSettings,
    reconnect,
    lockstep,
    envsPerStream,
    actionRepeat,
    oneHotObservations,
    actionBounds,
    address: _,
    numEnvs: __,
    ...connection
  } = environment;
  const say = (message: string) => notice(`${purpose}: ${message}`);
  const said = new Set<string>();
  /** Says what is true of a server once, though each of its environments finds it out. */
  const sayOnce = (message: string) => {
    if (!said.has(message)) say(message);
    said.add(message);
  };
  const connect = connectOverSharedStreams({
    numEnvs,
    envsPerStream,
    optionsOf: (stream) => ({
      ...connection,
      reuseArrays: true,
      notice: sayOnce,
      address: addresses[stream % addresses.length]!,
      createSettings: simulator === undefined ? createSettings : { simulator, ...createSettings },
    }),
  });
  return createVectorEnvironment({
    numEnvs,
    lockstep: lockstep || wholeEpisodes,
    actionRepeat,
    oneHotObservations,
    actionBounds,
    ...(wholeEpisodes ? { maxEpisodeSteps: evaluation.maxEpisodeSteps } : {}),
    connect: async (index, aborted) => {
      const environment = await connect(index, aborted);
      return index === 0 && recorder !== undefined ? recorder.wrap(environment) : environment;
    },
    episodeSeed: (index, episode) => episodeSeed({ seed, purpose, index, episode }),
    reconnect,
    notice: say,
    signal,
  });
}

/** The number of environments that play the episodes of an evaluation. */
export function numEvaluationEnvs(
  { environment }: Pick<EnvironmentConfig, 'environment'>,
  episodes: number,
): number {
  return Math.min(environment.numEnvs, episodes);
}

/**
 * The seeds of the episodes of a run's evaluation. Its environments take turns: the first episode of each comes first. All evaluations
 * of a run begin with these.
 */
export function evaluationSeeds({
  environment,
  evaluation: { episodes },
  seed,
}: Pick<ResolvedConfig, 'environment' | 'seed'> & {
  readonly evaluation: Pick<ResolvedConfig['evaluation'], 'episodes'>;
}): number[] {
  const numEnvs = numEvaluationEnvs({ environment }, episodes);
  return Array.from({ length: episodes }, (_, i) =>
    episodeSeed({ seed, purpose: 'evaluation', index: i % numEnvs, episode: Math.floor(i / numEnvs) }),
  );
}

/** The environments in which a policy is evaluated, and their server. */
export interface OpenedEnvironments {
  readonly environment: VectorEnvironment;
  close(): Promise<void>;
}

/**
 * Connects to environments of one purpose, and starts the embedded server if it is needed.
 * @throws PmpoError if a server does not answer or refuses, or a policy cannot use its specs.
 */
export async function openEnvironments(
  config: EnvironmentConfig,
  purpose: string,
  numEnvs: number,
  options: ConnectOptions & { readonly recorder?: EpisodeRecorder },
): Promise<OpenedEnvironments> {
  const server = await reachSimulators(config, options);
  try {
    const environment = await connectEnvironments(config, server.addresses, purpose, numEnvs, options);
    return {
      environment,
      close: async () => {
        await Promise.allSettled([environment.close()]);
        await server.close();
      },
    };
  } catch (error) {
    await server.close();
    throw error;
  }
}

/** Records episodes of the evaluation's first environment. */
export function evaluationRecorder(notice: (message: string) => void): EpisodeRecorder {
  return new EpisodeRecorder({ notice: (message) => notice(`evaluation: ${message}`) });
}

/** The environments of a training run. */
export interface TrainingEnvironments {
  /** Absent if actors in other processes gather the experience. */
  readonly environment?: VectorEnvironment;
  readonly evaluationEnvironment: VectorEnvironment;
  /** Records episodes of the evaluation's first environment. */
  readonly recorder: EpisodeRecorder;
  close(): Promise<void>;
}

/**
 * Connects to the environments that a run trains and evaluates in, and starts the embedded server if it is needed.
 * @throws PmpoError if a server does not answer or refuses, or a policy cannot use its specs.
 */
export async function openTrainingEnvironments(
  config: ResolvedConfig,
  options: ConnectOptions,
): Promise<TrainingEnvironments> {
  const server = await reachSimulators(config, options);
  const open: VectorEnvironment[] = [];
  const close = async () => {
    await Promise.allSettled(open.map((environment) => environment.close()));
    await server.close();
  };
  const recorder = evaluationRecorder(options.notice);
  const connect = async (
    purpose: string,
    numEnvs: number,
    own: typeof options & { recorder?: EpisodeRecorder } = options,
  ) => {
    const environment = await connectEnvironments(config, server.addresses, purpose, numEnvs, own);
    open.push(environment);
    return environment;
  };
  try {
    const actsHere = config.replay.redis === undefined;
    const environment = actsHere ? await connect('acting', config.environment.numEnvs) : undefined;
    // After the acting ones, which a server then spreads evenly over its processes.
    const numEnvs = numEvaluationEnvs(config, config.evaluation.episodes);
    const evaluationEnvironment = await connect('evaluation', numEnvs, { ...options, recorder });
    for (const note of evaluationEnvironment.observationLayout.notes) options.notice(note);
    return { environment, evaluationEnvironment, recorder, close };
  } catch (error) {
    await close().catch(() => {});
    throw error;
  }
}
