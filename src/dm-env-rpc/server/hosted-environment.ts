import { PmpoError } from '../../core/errors.js';
import { foreignText } from '../../core/foreign-text.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  TensorValue,
} from '../../environments/environment.js';
import { checkValue, neutralValue } from '../../environments/spec-checks.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import type { StatusName } from '../../grpc/status.js';
import { type ByUid, environmentStates } from '../codec/messages.js';
import { packSpecs, packTensor, scalarValue, unpackTensorOf } from '../codec/tensors.js';

/** The observations that dm_env_rpc reserves, in addition to the environment's own. */
export const reservedSpecs: NamedSpecs = {
  reward: { name: 'reward', shape: [], dtype: 'float64' },
  discount: { name: 'discount', shape: [], dtype: 'float64', minimum: 0, maximum: 1 },
};

/** The reason why a request is refused. */
export class RequestError extends Error {
  constructor(
    readonly status:
      | 'INVALID_ARGUMENT'
      | 'NOT_FOUND'
      | 'FAILED_PRECONDITION'
      | 'RESOURCE_EXHAUSTED'
      | 'UNIMPLEMENTED',
    message: string,
  ) {
    super(message);
  }
}

/** The status that a client receives when its request fails with this error. */
export function statusOf(error: unknown): StatusName {
  if (error instanceof RequestError || error instanceof SimulatorError) return error.status;
  return error instanceof PmpoError ? 'INVALID_ARGUMENT' : 'INTERNAL';
}

/** The message that a client receives when its request fails with this error: one line, cut if it is long. */
export function messageOf(error: unknown): string {
  return foreignText(error instanceof Error ? error.message : String(error), 2000);
}

/** What an environment has thrown, and where. */
export class SimulatorError extends Error {
  readonly status: StatusName;

  /** @param act what the environment was asked to do. It may refuse a reset for its seed; a step's action has been checked before. */
  constructor(place: string, act: 'reset' | 'step', cause: unknown) {
    super(`${place}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.status = act === 'reset' ? statusOf(cause) : 'INTERNAL';
  }
}

/** @throws RequestError if an observation of an environment has a name that dm_env_rpc reserves: it would be lost. */
export function checkReserved({ observationSpec }: Environment): void {
  for (const name of Object.keys(reservedSpecs)) {
    if (!Object.hasOwn(observationSpec, name)) continue;
    throw new RequestError(
      'INVALID_ARGUMENT',
      `the environment's observation '${name}' and the ${name} of each step would both be named '${name}'; rename the observation`,
    );
  }
}

/** @throws RequestError if a request holds more values than the world has: none of the others can be known. */
export function checkCount(what: 'actions' | 'observations', count: number, known: number): void {
  // An observation may be requested twice.
  if (count <= 2 * known + 16) return;
  throw new RequestError('INVALID_ARGUMENT', `the request names ${count} ${what}; this world has ${known}`);
}

/** The uid and the name of each requested observation, once. @throws RequestError for an unknown uid. */
export function requestedNames(
  names: ReadonlyMap<string, string>,
  requested: readonly string[],
): (readonly [uid: string, name: string])[] {
  return [...new Set(requested)].map((uid) => {
    const name = names.get(uid);
    if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `unknown observation ${uid}`);
    return [uid, name] as const;
  });
}

/** A world on this server: a single environment, or a batch of them. */
export interface HostedWorld {
  readonly name: string;
  /** The stream that created it. */
  readonly creator: object;
  /** The stream that has joined it. */
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  /** Its simulators. */
  readonly environments: readonly Environment[];
  /** Ends the episode. The next step starts another one, from `seed` if given. */
  reset(seed: number | undefined): void;
  /**
   * Ends the episode on behalf of a stream that has not joined: the occupant's next step answers that the episode was
   * interrupted, and the one after that starts another.
   */
  interrupt(seed: number | undefined): void;
  /** @throws RequestError or PmpoError for unknown observations, and for actions that are unknown or do not fit their specs. */
  step(
    actions: ByUid<wire.Tensor>,
    requested: readonly string[],
  ): Promise<{ state: number; observations: ByUid<wire.Tensor> }>;
  close(): Promise<void>;
}

/** The HostedWorld method, if any, that has ended the episode since the last step. */
export type RequestedEnd = 'reset' | 'interrupt' | undefined;

/** A single environment as dm_env_rpc sees it: sequences of steps, of which the first starts an episode. */
export class HostedEnvironment implements HostedWorld {
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  readonly #actions: ReadonlyMap<string, string>;
  readonly #observations: ReadonlyMap<string, string>;
  #running = false;
  /** Takes effect with the next step, so that a request that arrives during a step is not lost. */
  #requestedEnd: RequestedEnd;
  #nextSeed: number | undefined;
  #lastObservation: NamedTensorValues = {};
  /** The number of the episode, from 1, and of the step in it, for messages. */
  #episode = 0;
  #episodeStep = 0;

  /** @throws RequestError if a name of the environment is reserved. */
  constructor(
    readonly name: string,
    readonly creator: object,
    readonly environment: Environment,
  ) {
    checkReserved(environment);
    const actions = packSpecs(environment.actionSpec);
    const observations = packSpecs({ ...environment.observationSpec, ...reservedSpecs });
    this.specs = { actions: actions.byUid, observations: observations.byUid };
    this.#actions = actions.uids;
    this.#observations = observations.uids;
  }

  get environments(): readonly Environment[] {
    return [this.environment];
  }

  reset(seed: number | undefined): void {
    this.#requestedEnd = 'reset';
    this.#nextSeed = seed;
  }

  interrupt(seed: number | undefined): void {
    this.#requestedEnd ??= 'interrupt';
    this.#nextSeed = seed;
  }

  close(): Promise<void> {
    return this.environment.close();
  }

  async step(
    actions: ByUid<wire.Tensor>,
    requested: readonly string[],
  ): Promise<{ state: number; observations: ByUid<wire.Tensor> }> {
    const names = requestedNames(this.#observations, requested);
    const { state, values } = await this.#advance(actions);
    const observations = Object.fromEntries(names.map(([uid, name]) => [uid, packTensor(values[name])]));
    this.#running = state === environmentStates.running;
    return { state, observations };
  }

  /** Steps, starts an episode, or answers that one was interrupted. The returned state shows whether an episode is running. */
  async #advance(actions: ByUid<wire.Tensor>): Promise<{ state: number; values: NamedTensorValues }> {
    const requestedEnd = this.#requestedEnd;
    const wasRunning = this.#running;
    // A wrong action leaves the episode running. A failing environment ends it.
    const given = wasRunning && requestedEnd === undefined ? this.#decode(actions) : undefined;
    this.#requestedEnd = undefined;
    this.#running = false;
    let state: number = environmentStates.running;
    let [reward, discount] = [0, 1];
    if (given !== undefined) {
      this.#episodeStep += 1;
      const step = await this.#placed('step', () => this.environment.step(given));
      if (step.terminated) state = environmentStates.terminated;
      else if (step.truncated) state = environmentStates.interrupted;
      reward = step.reward;
      discount = step.discount ?? (step.terminated ? 0 : 1);
      this.#lastObservation = step.observation;
    } else if (requestedEnd === 'interrupt' && wasRunning) {
      state = environmentStates.interrupted;
    } else {
      const seed = this.#nextSeed;
      this.#episode += 1;
      this.#episodeStep = 0;
      const first = await this.#placed('reset', () =>
        this.environment.reset(seed === undefined ? {} : { seed }),
      );
      if (first.terminated) state = environmentStates.terminated;
      else if (first.truncated) state = environmentStates.interrupted;
      // A reset that has arrived in the meantime may have set another seed.
      if (this.#requestedEnd === undefined) this.#nextSeed = undefined;
      this.#lastObservation = first.observation;
    }
    const values: NamedTensorValues = {
      reward: scalarValue('float64', reward),
      discount: scalarValue('float64', discount),
      ...this.#lastObservation,
    };
    return { state, values };
  }

  /** Adds the world, the episode and the step to what the environment throws. */
  async #placed<T>(act: 'reset' | 'step', run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      const place = `${this.name}, episode ${this.#episode}, step ${this.#episodeStep}`;
      throw new SimulatorError(place, act, error);
    }
  }

  #decode(actions: ByUid<wire.Tensor>): NamedTensorValues {
    const given = new Map<string, TensorValue>();
    for (const [uid, message] of Object.entries(actions)) {
      const name = this.#actions.get(uid);
      if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `unknown action ${uid}`);
      const spec = this.environment.actionSpec[name];
      const value = unpackTensorOf('action', spec, message);
      checkValue('action', spec, value);
      given.set(name, value);
    }
    // Object.fromEntries keeps a name such as `__proto__`, which an assignment would lose.
    return Object.fromEntries(
      Object.entries(this.environment.actionSpec).map(([name, spec]) => [
        name,
        given.get(name) ?? neutralValue(spec),
      ]),
    );
  }
}
