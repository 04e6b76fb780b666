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

/** The observations that dm_env_rpc reserves, in addition to the environment's own. */
export const reservedSpecs: NamedSpecs = {
  reward: { name: 'reward', shape: [], dtype: 'float64' },
  discount: { name: 'discount', shape: [], dtype: 'float64', minimum: 0, maximum: 1 },
};

/** The reason why a request is refused. */
export class RequestError extends Error {
  constructor(
    readonly status: 'INVALID_ARGUMENT' | 'NOT_FOUND' | 'FAILED_PRECONDITION' | 'UNIMPLEMENTED',
    message: string,
  ) {
    super(message);
  }
}

/** The status that a client receives when its request fails with this error. */
export function statusOf(error: unknown): StatusName {
  if (error instanceof RequestError) return error.status;
  return error instanceof PmpoError ? 'INVALID_ARGUMENT' : 'INTERNAL';
}

/** The message that a client receives when its request fails with this error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The uid and the name of each requested observation. @throws RequestError for an unknown uid. */
export function requestedNames(
  names: ReadonlyMap<string, string>,
  requested: readonly string[],
): (readonly [uid: string, name: string])[] {
  return requested.map((uid) => {
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

  constructor(
    readonly name: string,
    readonly creator: object,
    readonly environment: Environment,
  ) {
    const actions = packSpecs(environment.actionSpec);
    const observations = packSpecs({ ...environment.observationSpec, ...reservedSpecs });
    this.specs = { actions: actions.byUid, observations: observations.byUid };
    this.#actions = actions.uids;
    this.#observations = observations.uids;
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
      const step = await this.environment.step(given);
      if (step.terminated) state = environmentStates.terminated;
      else if (step.truncated) state = environmentStates.interrupted;
      reward = step.reward;
      discount = step.discount ?? (step.terminated ? 0 : 1);
      this.#lastObservation = step.observation;
    } else if (requestedEnd === 'interrupt' && wasRunning) {
      state = environmentStates.interrupted;
    } else {
      const seed = this.#nextSeed;
      const first = await this.environment.reset(seed === undefined ? {} : { seed });
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

  #decode(actions: ByUid<wire.Tensor>): NamedTensorValues {
    const given: Record<string, TensorValue> = {};
    for (const [uid, message] of Object.entries(actions)) {
      const name = this.#actions.get(uid);
      if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `unknown action ${uid}`);
      const value = unpackTensor(message);
      checkValue('action', this.environment.actionSpec[name], value);
      given[name] = value;
    }
    for (const [name, spec] of Object.entries(this.environment.actionSpec))
      given[name] ??= neutralValue(spec);
    return given;
  }
}
