import { PmpoError } from '../../core/errors.js';
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
import { packSpecs, packTensor, scalarValue, unpackTensor } from '../codec/tensors.js';

/** The observations that dm_env_rpc reserves: what a learner needs beside the environment's own. */
export const reserved: NamedSpecs = {
  reward: { name: 'reward', shape: [], dtype: 'float64' },
  discount: { name: 'discount', shape: [], dtype: 'float64', minimum: 0, maximum: 1 },
};

export class RequestError extends Error {
  constructor(
    readonly status: 'INVALID_ARGUMENT' | 'NOT_FOUND' | 'FAILED_PRECONDITION' | 'UNIMPLEMENTED',
    message: string,
  ) {
    super(message);
  }
}

/** The code of what a client is told when its request fails with this error. */
export function statusOf(error: unknown): StatusName {
  if (error instanceof RequestError) return error.status;
  return error instanceof PmpoError ? 'INVALID_ARGUMENT' : 'INTERNAL';
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The observations that a step asks for: the uid and the name of each. @throws RequestError for one that there is not. */
export function requestedNames(
  names: ReadonlyMap<string, string>,
  requested: readonly string[],
): (readonly [uid: string, name: string])[] {
  return requested.map((uid) => {
    const name = names.get(uid);
    if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `there is no observation ${uid}`);
    return [uid, name] as const;
  });
}

/** A world on a server: who is in it, and what its numbers stand for. */
export interface HostedWorld {
  readonly name: string;
  /** The stream that made it. */
  readonly maker: object;
  /** Who is in it. */
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  /** Ends the episode; the next step starts another, from `seed` if there is one. */
  reset(seed: number | undefined): void;
  /** The same for somebody who is not in it: the occupant's next step says that its episode was cut, the one after starts another. */
  interrupt(seed: number | undefined): void;
  /** @throws RequestError or PmpoError for observations or actions that there are not. */
  step(
    actions: ByUid<wire.Tensor>,
    requested: readonly string[],
  ): Promise<{ state: number; observations: ByUid<wire.Tensor> }>;
  close(): Promise<void>;
}

/** What has been asked of a world since its last step: its episode is over, and its occupant knows or is to be told. */
export type AskedEnd = 'reset' | 'interrupt' | undefined;

/** A hosted environment as dm_env_rpc sees it: sequences of steps, of which the first starts an episode. */
export class World implements HostedWorld {
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  readonly #actions: ReadonlyMap<string, string>;
  readonly #observations: ReadonlyMap<string, string>;
  #running = false;
  /** Taken up by the next step, so that what comes while one is under way is not lost. */
  #askedEnd: AskedEnd;
  #nextSeed: number | undefined;
  #lastObservation: NamedTensorValues = {};

  constructor(
    readonly name: string,
    readonly maker: object,
    readonly environment: Environment,
  ) {
    const actions = packSpecs(environment.actionSpec);
    const observations = packSpecs({ ...environment.observationSpec, ...reserved });
    this.specs = { actions: actions.byUid, observations: observations.byUid };
    this.#actions = actions.uids;
    this.#observations = observations.uids;
  }

  reset(seed: number | undefined): void {
    this.#askedEnd = 'reset';
    this.#nextSeed = seed;
  }

  interrupt(seed: number | undefined): void {
    this.#askedEnd ??= 'interrupt';
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

  /** Steps, starts an episode, or says that one was cut. Leaves no episode running: whether one is, its answer says. */
  async #advance(actions: ByUid<wire.Tensor>): Promise<{ state: number; values: NamedTensorValues }> {
    const askedEnd = this.#askedEnd;
    const wasRunning = this.#running;
    // A wrong action changes nothing. An environment that fails leaves nothing that could go on.
    const given = wasRunning && askedEnd === undefined ? this.#decode(actions) : undefined;
    this.#askedEnd = undefined;
    this.#running = false;
    let state: number = environmentStates.running;
    let [reward, discount] = [0, 1];
    if (given !== undefined) {
      const step = await this.environment.step(given);
      if (step.terminated) state = environmentStates.terminated;
      else if (step.truncated) state = environmentStates.interrupted;
      reward = step.reward;
      discount = step.terminated ? 0 : 1;
      this.#lastObservation = step.observation;
    } else if (askedEnd === 'interrupt' && wasRunning) {
      state = environmentStates.interrupted;
    } else {
      const seed = this.#nextSeed;
      const { observation } = await this.environment.reset(seed === undefined ? {} : { seed });
      // Set anew by a reset that has come meanwhile.
      if (this.#askedEnd === undefined) this.#nextSeed = undefined;
      this.#lastObservation = observation;
    }
    const values: NamedTensorValues = {
      reward: scalarValue('float64', reward),
      discount: scalarValue('float64', discount),
      ...this.#lastObservation,
    };
    return { state, values };
  }

  #decode(actions: ByUid<wire.Tensor>): NamedTensorValues {
    const given: Record<string, TensorValue> = {};
    for (const [uid, message] of Object.entries(actions)) {
      const name = this.#actions.get(uid);
      if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `there is no action ${uid}`);
      const value = unpackTensor(message);
      checkValue('action', this.environment.actionSpec[name], value);
      given[name] = value;
    }
    for (const [name, spec] of Object.entries(this.environment.actionSpec))
      given[name] ??= neutralValue(spec);
    return given;
  }
}
