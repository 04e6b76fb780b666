import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { LoadedConfig } from '../config/load.js';
import { createEngine } from '../engine/create.js';
import { type ActorProgress, type ActorResult, runActor } from '../learners/control/actor-process.js';
import { RedisConnection } from '../replay/redis/connection.js';
import { connectEnvironments, reachSimulators } from './environments.js';
import { redisAddress, redisRunName } from './remote-replay.js';

/** What `actRun` needs. */
export interface ActRunOptions {
  readonly loaded: LoadedConfig;
  /** Receives messages for people. */
  readonly notice: (message: string) => void;
  /** Called when Redis and the simulators have answered, with the run's name in Redis and the name of this actor. */
  readonly onStart: (run: string, actor: string) => void;
  /** Called after each chunk of transitions that Redis has confirmed. */
  readonly onStored: (progress: ActorProgress) => void;
  /** Aborted: the actor sends the transitions that it has and ends. */
  readonly signal?: AbortSignal;
}

/**
 * Gathers experience for a learner in another process until that learner's run is done.
 * @throws PmpoError if Redis or the simulators cannot be reached, and as `runActor` does.
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
    // A new name at each start, so that the learner does not wait for transitions that a killed actor never stored.
    const actor = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
    const server = await reachSimulators(config, { notice, signal });
    cleanUp.push(() => server.close());
    const environment = await connectEnvironments(
      config,
      server.addresses,
      `actor ${actor}`,
      config.environment.numEnvs,
      { notice, signal },
    );
    cleanUp.push(() => environment.close());
    const run = redisRunName(config);
    onStart(run, actor);
    return await runActor({
      config,
      engine,
      environment,
      simulator: config.environment.simulator,
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
