import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { LoadedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { type ActorProgress, type ActorResult, runActor } from '../learners/control/actor.js';
import { RedisConnection } from '../replay/redis/connection.js';
import { redisAddress, redisRunName } from './remote-replay.js';
import { connectWorlds, reachSimulators } from './worlds.js';

export interface ActRunOptions {
  readonly loaded: LoadedConfig;
  /** Told what a person should know. */
  readonly notice: (message: string) => void;
  /** Told when Redis and the simulators have answered: the run's name there, and this actor's. */
  readonly onStart: (run: string, actor: string) => void;
  /** Told after each chunk of transitions that Redis has confirmed. */
  readonly onStored: (progress: ActorProgress) => void;
  /** Aborted: the actor sends what it has and ends. */
  readonly signal?: AbortSignal;
}

/**
 * Acts for a learner elsewhere, until its run is done: simulators, engine and Redis as configured.
 * @throws PmpoError when Redis or the simulators cannot be reached, and as `runActor`.
 */
export async function actRun(options: ActRunOptions): Promise<ActorResult> {
  const { loaded, notice, onStart, onStored, signal } = options;
  const { config } = loaded;
  const cleanUp: (() => Promise<void> | void)[] = [];
  try {
    const connection = await RedisConnection.open(await redisAddress(config), { notice, signal });
    cleanUp.push(() => connection.close());
    const engine = await createEngine(config.engine, { threads: config.threads });
    cleanUp.push(() => engine.dispose());
    // New at each start: what a killed one had not stored is not missing, it never was.
    const actor = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const surroundings = { notice, signal };
    const server = await reachSimulators(config, surroundings);
    cleanUp.push(() => server.close());
    const environment = await connectWorlds(
      config,
      server.addresses,
      `actor ${actor}`,
      config.environment.numEnvs,
      surroundings,
    );
    cleanUp.push(() => environment.close());
    const run = redisRunName(config);
    onStart(run, actor);
    return await runActor({
      config,
      engine,
      environment,
      connection,
      run,
      actor,
      notice,
      onStored,
      signal,
      clock: () => performance.now(),
    });
  } finally {
    for (const close of cleanUp.reverse()) await close();
  }
}
