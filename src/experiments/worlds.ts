import { addressesOf } from '../config/checks.js';
import type { ResolvedConfig } from '../config/load.js';
import { foldIn, randomKey, randomSeed } from '../core/random-keys.js';
import { batchedConnect } from '../dm-env-rpc/client/shared-streams.js';
import { createVectorEnvironment } from '../environments/create-vector-environment.js';
import type { VectorEnvironment } from '../environments/vector-environment.js';
import { startEmbeddedServer } from '../simulators/embedded-server.js';

export interface WorldsOptions {
  /** Told what a person should know: lost connections and returns. */
  readonly notice: (message: string) => void;
  /** Aborted: waiting for a lost server ends. */
  readonly signal?: AbortSignal;
}

/** Where simulators are reached. */
export interface SimulatorServer {
  /** Stream s is to the one with number s, counted round. */
  readonly addresses: readonly string[];
  /** Ends the embedded server; leaves another one alone. */
  close(): Promise<void>;
}

/** Starts the embedded server when the configuration names no address. @throws PmpoError when it does not start. */
export async function reachSimulators(
  { environment }: ResolvedConfig,
  { notice }: WorldsOptions,
): Promise<SimulatorServer> {
  if (environment.address === undefined) {
    const { address, close } = await startEmbeddedServer({ onCrash: (error) => notice(error.message) });
    return { addresses: [address], close };
  }
  return { addresses: addressesOf(environment), close: async () => {} };
}

/**
 * K worlds of the configured kind, as many on one stream as configured.
 * @param purpose worlds of another purpose see other episodes: `acting`, `evaluation`.
 * @throws PmpoError when nobody answers or the server refuses.
 */
export function connectWorlds(
  { environment, seed }: ResolvedConfig,
  addresses: readonly string[],
  purpose: string,
  size: number,
  { notice, signal }: WorldsOptions,
): Promise<VectorEnvironment> {
  const {
    simulator,
    createSettings,
    reconnect,
    lockstep,
    envsPerStream,
    address: _,
    numEnvs: __,
    ...connection
  } = environment;
  const key = foldIn(foldIn(randomKey(seed), 'episodes'), purpose);
  return createVectorEnvironment({
    numEnvs: size,
    // An evaluation is of whole episodes: it waits for all of them in any case.
    lockstep: lockstep || purpose === 'evaluation',
    connect: batchedConnect({
      size,
      envsPerStream,
      optionsOf: (stream) => ({
        ...connection,
        reuseArrays: true,
        address: addresses[stream % addresses.length]!,
        createSettings: simulator === undefined ? createSettings : { simulator, ...createSettings },
      }),
    }),
    episodeSeed: (world, episode) => randomSeed(foldIn(foldIn(key, world), episode)),
    reconnect,
    notice: (message) => notice(`${purpose}: ${message}`),
    signal,
  });
}

/** How many worlds play the episodes of an evaluation. */
export function evaluationWorlds({ environment }: ResolvedConfig, episodes: number): number {
  return Math.min(environment.numEnvs, episodes);
}

/** Everything of a training run that is outside this process, or acts as if it were. */
export interface Worlds {
  /** Absent when actors elsewhere do the acting. */
  readonly environment?: VectorEnvironment;
  readonly evaluationEnvironment: VectorEnvironment;
  close(): Promise<void>;
}

/**
 * Reaches the simulators, or starts them, and connects the worlds to learn in and those to be judged in.
 * @throws PmpoError when nobody answers, the server refuses, or its specs cannot be used by a policy.
 */
export async function openWorlds(config: ResolvedConfig, options: WorldsOptions): Promise<Worlds> {
  const server = await reachSimulators(config, options);
  const open: VectorEnvironment[] = [];
  const close = async () => {
    await Promise.allSettled(open.map((worlds) => worlds.close()));
    await server.close();
  };
  const connect = async (purpose: string, size: number) => {
    const worlds = await connectWorlds(config, server.addresses, purpose, size, options);
    open.push(worlds);
    return worlds;
  };
  try {
    const acts = config.replay.redis === undefined;
    const environment = acts ? await connect('acting', config.environment.numEnvs) : undefined;
    const judged = evaluationWorlds(config, config.evaluation.episodes);
    return { environment, evaluationEnvironment: await connect('evaluation', judged), close };
  } catch (error) {
    await close().catch(() => {});
    throw error;
  }
}
