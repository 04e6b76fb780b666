import { isDeepStrictEqual } from 'node:util';
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
import { packSpecs, packTensor, unpackTensor } from '../codec/tensors.js';
import {
  type AskedEnd,
  type HostedWorld,
  messageOf,
  RequestError,
  requestedNames,
  reserved,
  statusOf,
} from './hosted-environment.js';

/** The largest batch. */
const mostSimulators = 1024;

/** How many simulators the setting `batchSize` asks for. @throws RequestError for what is no such number. */
export function batchSizeOf(setting: unknown): number {
  if (typeof setting === 'number' && Number.isInteger(setting) && setting > 0 && setting <= mostSimulators)
    return setting;
  const needed = `batchSize must be a whole number from 1 to ${mostSimulators}`;
  throw new RequestError('INVALID_ARGUMENT', needed);
}

/**
 * N environments in one world: a step does with each of them what its row of `batch/command` says. One that fails leaves the
 * others as they are. The world itself is always running: its episodes are theirs.
 */
export class BatchedWorld implements HostedWorld {
  occupant: object | undefined;
  readonly specs: wire.ActionObservationSpecs;
  readonly #environments: readonly Environment[];
  readonly #actionSpecs: NamedSpecs;
  /** Those of each simulator, made once: every step is checked against them. */
  readonly #rowSpecs: Readonly<Record<string, readonly TensorSpec[]>>;
  readonly #actionNames: ReadonlyMap<string, string>;
  readonly #observationNames: ReadonlyMap<string, string>;
  /** The rows of what was last observed, by name, [N, …]. */
  readonly #rows: Readonly<Record<string, TensorValue>>;
  readonly #states: Int32Array;
  /** Of the next episodes. */
  readonly #seeds: (number | undefined)[];
  /** Taken up by the next step, so that what comes while one is under way is not lost. */
  #askedEnd: AskedEnd;
  /** Those whose episodes were cut, which their next step says. */
  readonly #interrupted = new Set<number>();

  /** @throws RequestError for environments that differ in their specs, or whose tensors are of no fixed size. */
  constructor(
    readonly name: string,
    /** The stream that made it. */
    readonly maker: object,
    environments: readonly Environment[],
  ) {
    const size = environments.length;
    const [{ observationSpec, actionSpec }] = environments;
    const odd = environments.findIndex(
      (other) => !isDeepStrictEqual([other.observationSpec, other.actionSpec], [observationSpec, actionSpec]),
    );
    if (odd >= 0) {
      const what = `simulator ${odd} differs from simulator 0 in its specs; those of a batch must be alike`;
      throw new RequestError('INVALID_ARGUMENT', what);
    }
    const all = { ...observationSpec, ...actionSpec };
    const open = Object.values(all).find(
      ({ shape, name: own }) => shape.some((n) => n < 0) || isBatchName(own),
    );
    if (open !== undefined) {
      const what = `'${open.name}' is of no fixed size, or has a name that a batch needs for itself`;
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
    const observationSpecs = { ...stacked({ ...observationSpec, ...reserved }), ...own.observations };
    const actions = packSpecs(this.#actionSpecs);
    const observations = packSpecs(observationSpecs);
    this.specs = { actions: actions.byUid, observations: observations.byUid };
    this.#actionNames = actions.uids;
    this.#observationNames = observations.uids;
    this.#environments = environments;
    this.#rows = Object.fromEntries(
      Object.entries(observationSpecs).map(([key, { dtype, shape }]) => [
        key,
        { dtype, shape, data: emptyData(dtype, sizeOf(shape)) },
      ]),
    );
    this.#states = this.#rows[batchNames.state].data as Int32Array;
    this.#seeds = environments.map(() => undefined);
  }

  /** Ends all episodes. The next of simulator i is the one of `seed` + i, if there is a seed. */
  reset(seed: number | undefined): void {
    this.#askedEnd = 'reset';
    this.#seedAll(seed);
  }

  /** The same for somebody who is not in it: each one's next step says that its episode was cut, the one after starts another. */
  interrupt(seed: number | undefined): void {
    this.#askedEnd ??= 'interrupt';
    this.#seedAll(seed);
  }

  #seedAll(seed: number | undefined): void {
    for (const i of this.#seeds.keys()) this.#seeds[i] = seed === undefined ? undefined : seed + i;
  }

  #takeUpAskedEnd(): void {
    if (this.#askedEnd === 'reset') {
      this.#states.fill(noEpisode);
      this.#interrupted.clear();
    }
    if (this.#askedEnd === 'interrupt') {
      for (const [i, state] of this.#states.entries())
        if (state === environmentStates.running) this.#interrupted.add(i);
    }
    this.#askedEnd = undefined;
  }

  async step(
    actions: ByUid<wire.Tensor>,
    requested: readonly string[],
  ): Promise<{ state: number; observations: ByUid<wire.Tensor> }> {
    const names = requestedNames(this.#observationNames, requested);
    this.#takeUpAskedEnd();
    // A wrong action, of whichever simulator, changes nothing.
    const given = this.#decode(actions);
    const commands = given[batchNames.command].data as Int32Array;
    const seeds = given[batchNames.seed].data as BigInt64Array;
    for (const [i, command] of commands.entries()) {
      if (command === batchCommands.wait) continue;
      if (this.#interrupted.delete(i) && command === batchCommands.step) {
        this.#states[i] = environmentStates.interrupted;
        this.#note(i, 0, 1, 0, '');
        continue;
      }
      try {
        await this.#act(i, command, seeds[i], given);
      } catch (error) {
        this.#states[i] = noEpisode;
        this.#note(i, 0, 1, statusCode(statusOf(error)), `simulator ${i}: ${messageOf(error)}`);
      }
    }
    return {
      state: environmentStates.running,
      observations: Object.fromEntries(names.map(([uid, name]) => [uid, packTensor(this.#rows[name])])),
    };
  }

  async #act(i: number, command: number, seed: bigint, given: NamedTensorValues): Promise<void> {
    const environment = this.#environments[i];
    const goesOn = command === batchCommands.step && this.#states[i] === environmentStates.running;
    let taken: Pick<Step, 'observation'> & Partial<Step>;
    if (goesOn) {
      const action = Object.entries(environment.actionSpec).map(([name, { dtype, shape }]) => {
        const data = rowOf(given[name].data, i, this.#environments.length);
        return [name, { dtype, shape, data }] as const;
      });
      taken = await environment.step(Object.fromEntries(action));
    } else {
      const chosen = command === batchCommands.reset && seed !== noSeed ? Number(seed) : this.#seeds[i];
      taken = await environment.reset(chosen === undefined ? {} : { seed: chosen });
      // Set anew by a reset that has come meanwhile.
      if (this.#askedEnd === undefined) this.#seeds[i] = undefined;
    }
    const { observation, reward = 0, terminated = false, truncated = false } = taken;
    for (const [name, spec] of Object.entries(environment.observationSpec)) {
      checkForm('observation', spec, observation[name]);
      writeRow(this.#rows[name].data, i, observation[name].data);
    }
    this.#states[i] = terminated
      ? environmentStates.terminated
      : truncated
        ? environmentStates.interrupted
        : environmentStates.running;
    this.#note(i, reward, terminated ? 0 : 1, 0, '');
  }

  /** Writes what there is to say of simulator i beside its observations. */
  #note(i: number, reward: number, discount: number, code: number, error: string): void {
    writeRow(this.#rows.reward.data, i, Float64Array.of(reward));
    writeRow(this.#rows.discount.data, i, Float64Array.of(discount));
    writeRow(this.#rows[batchNames.errorCode].data, i, Int32Array.of(code));
    writeRow(this.#rows[batchNames.error].data, i, [error]);
  }

  #decode(actions: ByUid<wire.Tensor>): NamedTensorValues {
    const size = this.#environments.length;
    const given: Record<string, TensorValue> = {};
    // What a step that starts an episode brings for the simulator is ignored, whatever it is.
    const isRunning = this.#states.includes(environmentStates.running);
    for (const [uid, message] of Object.entries(actions)) {
      const name = this.#actionNames.get(uid);
      if (!isRunning && (name === undefined || !isBatchName(name))) continue;
      if (name === undefined) throw new RequestError('INVALID_ARGUMENT', `there is no action ${uid}`);
      const value = unpackTensor(message);
      const spec = this.#actionSpecs[name];
      checkForm('action', spec, value);
      for (let i = 0; i < size; i++) {
        const own = this.#rowSpecs[name][i];
        const data = rowOf(value.data, i, size);
        checkValue(`simulator ${i}: action`, own, { dtype: value.dtype, shape: own.shape, data });
      }
      given[name] = value;
    }
    // Left out, it is no seed: 0 is one.
    given[batchNames.seed] ??= { dtype: 'int64', shape: [size], data: new BigInt64Array(size).fill(noSeed) };
    for (const [name, spec] of Object.entries(this.#actionSpecs)) given[name] ??= neutralValue(spec);
    return given;
  }

  /** Closes all of them, also where closing one fails. */
  async close(): Promise<void> {
    const closed = await Promise.allSettled(this.#environments.map((environment) => environment.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }
}
