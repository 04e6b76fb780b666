import { sizeOf } from '../../core/shape.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  Step,
  TensorSpec,
  TensorValue,
} from '../../environments/environment.js';
import { checkForm, checkValue, neutralValue } from '../../environments/spec-checks.js';
import { specDifference } from '../../environments/spec-difference.js';
import { emptyData } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { statusCode } from '../../grpc/status.js';
import {
  batchCommands,
  batchNames,
  batchSpecs,
  isBatchName,
  noEpisode,
  noSeed,
  rowOf,
  rowSpec,
  stackedSpec,
  writeRow,
} from '../codec/batch-layout.js';
import { type ByUid, environmentStates } from '../codec/messages.js';
import { packSpecs, packTensor, unpackTensorOf } from '../codec/tensors.js';
import {
  checkReserved,
  type HostedWorld,
  messageOf,
  RequestError,
  type RequestedEnd,
  requestedNames,
  reservedSpecs,
  SimulatorError,
} from './hosted-environment.js';

/** The largest batch. */
const maxSimulators = 1024;

/** The number of simulators that the setting `batchSize` asks for. @throws RequestError if it is not a valid number. */
export function batchSizeOf(setting: unknown): number {
  if (typeof setting === 'number' && Number.isInteger(setting) && setting > 0 && setting <= maxSimulators)
    return setting;
  const needed = `batchSize must be a whole number from 1 to ${maxSimulators}`;
  throw new RequestError('INVALID_ARGUMENT', needed);
}

/**
 * N environments in one world (codec/batch-layout.ts). A step executes each environment's entry of `batch/command`. An
 * environment that fails does not affect the others. The state of the world is always RUNNING: `batch/state` holds those of the
 * environments.
 * Shapes: N environments.
 */
export class HostedBatch implements HostedWorld {
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  readonly environments: readonly Environment[];
  readonly #actionSpecs: NamedSpecs;
  /** The action specs of each simulator, which every step is checked against. */
  readonly #rowSpecs: Readonly<Record<string, readonly TensorSpec[]>>;
  readonly #actionNames: ReadonlyMap<string, string>;
  readonly #observationNames: ReadonlyMap<string, string>;
  /** The last observations by name, [N, …]. */
  readonly #rows: Readonly<Record<string, TensorValue>>;
  readonly #states: Int32Array;
  /** The seeds of the next episodes, if given. */
  readonly #seeds: (number | undefined)[];
  /** Takes effect with the next step, so that a request that arrives during a step is not lost. */
  #requestedEnd: RequestedEnd;
  /** The simulators whose next step must answer that the episode was interrupted. */
  readonly #interrupted = new Set<number>();
  /** The number of each environment's episode, from 1, and of the step in it, for messages. */
  readonly #episodes: number[];
  readonly #episodeSteps: number[];

  /** @throws RequestError for environments whose specs differ, are not of a fixed size, or have reserved names. */
  constructor(
    readonly name: string,
    /** The stream that created it. */
    readonly creator: object,
    environments: readonly Environment[],
  ) {
    const size = environments.length;
    environments.forEach(checkReserved);
    this.#episodes = environments.map(() => 0);
    this.#episodeSteps = environments.map(() => 0);
    const [{ observationSpec, actionSpec }] = environments;
    for (const [i, environment] of environments.entries()) {
      const difference = specDifference(environment, environments[0]);
      if (difference === undefined) continue;
      const what = `the specs of simulator ${i} differ from those of simulator 0: ${difference}; all of a batch must have the same`;
      throw new RequestError('INVALID_ARGUMENT', what);
    }
    const all = { ...observationSpec, ...actionSpec };
    const open = Object.values(all).find(
      ({ shape, name: own }) => shape.some((n) => n < 0) || isBatchName(own),
    );
    if (open !== undefined) {
      const what = `'${open.name}' does not have a fixed size, or has a name that is reserved for batches`;
      throw new RequestError('INVALID_ARGUMENT', what);
    }
    const stacked = (specs: NamedSpecs): NamedSpecs =>
      Object.fromEntries(Object.entries(specs).map(([key, spec]) => [key, stackedSpec(spec, size)]));
    const own = batchSpecs(size);
    this.#actionSpecs = { ...stacked(actionSpec), ...own.actions };
    this.#rowSpecs = Object.fromEntries(
      Object.entries(this.#actionSpecs).map(([key, spec]) => [
        key,
        environments.map((_, i) => rowSpec(spec, i)),
      ]),
    );
    const observationSpecs = { ...stacked({ ...observationSpec, ...reservedSpecs }), ...own.observations };
    const actions = packSpecs(this.#actionSpecs);
    const observations = packSpecs(observationSpecs);
    this.specs = { actions: actions.byUid, observations: observations.byUid };
    this.#actionNames = actions.uids;
    this.#observationNames = observations.uids;
    this.environments = environments;
    this.#rows = Object.fromEntries(
      Object.entries(observationSpecs).map(([key, { dtype, shape }]) => [
        key,
        { dtype, shape, data: emptyData(dtype, sizeOf(shape)) },
      ]),
    );
    this.#states = this.#rows[batchNames.state].data as Int32Array;
    this.#seeds = environments.map(() => undefined);
  }

  /** Ends all episodes. The next episode of simulator i has the seed `seed` + i, if given. */
  reset(seed: number | undefined): void {
    this.#requestedEnd = 'reset';
    this.#seedAll(seed);
  }

  /** Ends all episodes on behalf of a stream that has not joined; see HostedWorld. */
  interrupt(seed: number | undefined): void {
    this.#requestedEnd ??= 'interrupt';
    this.#seedAll(seed);
  }

  #seedAll(seed: number | undefined): void {
    for (const i of this.#seeds.keys()) this.#seeds[i] = seed === undefined ? undefined : seed + i;
  }

  #applyRequestedEnd(): void {
    if (this.#requestedEnd === 'reset') {
      this.#states.fill(noEpisode);
      this.#interrupted.clear();
    }
    if (this.#requestedEnd === 'interrupt') {
      for (const [i, state] of this.#states.entries())
        if (state === environmentStates.running) this.#interrupted.add(i);
    }
    this.#requestedEnd = undefined;
  }

  async step(
    actions: ByUid<wire.Tensor>,
    requested: readonly string[],
  ): Promise<{ state: number; observations: ByUid<wire.Tensor> }> {
    const names = requestedNames(this.#observationNames, requested);
    this.#applyRequestedEnd();
    // Decoded and checked first, so that one wrong action leaves all simulators as they are.
    const given = this.#decode(actions);
    const commands = given[batchNames.command].data as Int32Array;
    const seeds = given[batchNames.seed].data as BigInt64Array;
    for (const [i, command] of commands.entries()) {
      if (command === batchCommands.wait) continue;
      if (this.#interrupted.delete(i) && command === batchCommands.step) {
        this.#states[i] = environmentStates.interrupted;
        this.#record(i, 0, 1, 0, '');
        continue;
      }
      try {
        await this.#act(i, command, seeds[i], given);
      } catch (error) {
        this.#states[i] = noEpisode;
        const place = `simulator ${i}: ${this.name}, episode ${this.#episodes[i]}, step ${this.#episodeSteps[i]}`;
        const failure = new SimulatorError(place, this.#episodeSteps[i] === 0 ? 'reset' : 'step', error);
        this.#record(i, 0, 1, statusCode(failure.status), messageOf(failure));
      }
    }
    return {
      state: environmentStates.running,
      observations: Object.fromEntries(names.map(([uid, name]) => [uid, packTensor(this.#rows[name])])),
    };
  }

  async #act(i: number, command: number, seed: bigint, given: NamedTensorValues): Promise<void> {
    const environment = this.environments[i];
    const continues = command === batchCommands.step && this.#states[i] === environmentStates.running;
    let result: Pick<Step, 'observation'> & Partial<Step>;
    if (continues) {
      const action = Object.entries(environment.actionSpec).map(([name, { dtype, shape }]) => {
        const data = rowOf(given[name].data, i, this.environments.length);
        return [name, { dtype, shape, data }] as const;
      });
      this.#episodeSteps[i] += 1;
      result = await environment.step(Object.fromEntries(action));
    } else {
      this.#episodes[i] += 1;
      this.#episodeSteps[i] = 0;
      const chosen = command === batchCommands.reset && seed !== noSeed ? Number(seed) : this.#seeds[i];
      result = await environment.reset(chosen === undefined ? {} : { seed: chosen });
      // A reset that has arrived in the meantime may have set another seed.
      if (this.#requestedEnd === undefined) this.#seeds[i] = undefined;
    }
    const { observation, reward = 0, terminated = false, truncated = false } = result;
    const { discount = terminated ? 0 : 1 } = result;
    for (const [name, spec] of Object.entries(environment.observationSpec)) {
      checkForm('observation', spec, observation[name]);
      writeRow(this.#rows[name].data, i, observation[name].data);
    }
    this.#states[i] = terminated
      ? environmentStates.terminated
      : truncated
        ? environmentStates.interrupted
        : environmentStates.running;
    this.#record(i, reward, discount, 0, '');
  }

  /** Records the results of simulator i, apart from its observations and state. */
  #record(i: number, reward: number, discount: number, code: number, error: string): void {
    writeRow(this.#rows.reward.data, i, Float64Array.of(reward));
    writeRow(this.#rows.discount.data, i, Float64Array.of(discount));
    writeRow(this.#rows[batchNames.errorCode].data, i, Int32Array.of(code));
    writeRow(this.#rows[batchNames.error].data, i, [error]);
  }

  #decode(actions: ByUid<wire.Tensor>): NamedTensorValues {
    const size = this.environments.length;
    // Without a prototype, so that a name such as `__proto__` is kept.
    const given: Record<string, TensorValue> = Object.create(null);
    // dm_env_rpc ignores the actions of a step that starts an episode.
    const isRunning = this.#states.includes(environmentStates.running);
    for (const [uid, message] of Object.entries(actions)) {
      const name = this.#actionNames.get(uid);
      if (!isRunning && (name === undefined || !isBatchName(name))) continue;
      if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `unknown action ${uid}`);
      const spec = this.#actionSpecs[name];
      const value = unpackTensorOf('action', spec, message);
      for (let i = 0; i < size; i++) {
        const own = this.#rowSpecs[name][i];
        const data = rowOf(value.data, i, size);
        checkValue(`simulator ${i}: action`, own, { dtype: value.dtype, shape: own.shape, data });
      }
      given[name] = value;
    }
    // The neutral value would be 0, which is a seed.
    given[batchNames.seed] ??= { dtype: 'int64', shape: [size], data: new BigInt64Array(size).fill(noSeed) };
    for (const [name, spec] of Object.entries(this.#actionSpecs)) given[name] ??= neutralValue(spec);
    return given;
  }

  /** Closes all environments, even if closing one of them fails. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.environments.map((environment) => environment.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }
}
