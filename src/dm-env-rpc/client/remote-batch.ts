import { PmpoError } from '../../core/errors.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  TensorValue,
} from '../../environments/environment.js';
import { neutralValue } from '../../environments/spec-checks.js';
import {
  batchCommands,
  batchNames,
  isBatchName,
  noEpisode,
  noSeed,
  rowOf,
  rowSpec,
  writeRow,
} from '../codec/batch-layout.js';
import { isEnvironmentState } from '../codec/messages.js';
import { DmEnvRpcError } from '../errors.js';
import { BatchMember, type Outcome } from './batch-member.js';
import type { RemoteEnvironmentOptions } from './remote-environment.js';
import { type ObservationRequest, RemoteWorld, type StepResponse } from './remote-world.js';
import { reservedObservations } from './reserved-observations.js';

type Command = keyof typeof batchCommands;

const isReserved = (name: string) => name === 'reward' || name === 'discount' || isBatchName(name);

/** A reset or step that has not returned. */
interface Call {
  readonly member: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A world of N simulators on one stream, each a separate Environment. Requests made in one turn of the event loop are sent as
 * one message; requests made before its response has arrived are sent with the next one.
 * Shapes: N simulators.
 */
export class RemoteBatch {
  readonly size: number;
  readonly #world: RemoteWorld;
  readonly #names: readonly string[];
  /** All observations that steps request. */
  readonly #requested: readonly string[];
  readonly #request: ObservationRequest;
  readonly #errorRequest: ObservationRequest;
  /** The next message's actions, [N, …] each. The rows of simulators that wait mean nothing. */
  readonly #actions: Readonly<Record<string, TensorValue>>;
  readonly #neutral: Readonly<Record<string, TensorValue>>;
  readonly #commands: Int32Array;
  readonly #seeds: BigInt64Array;
  /** Views of the decoder's arrays for each simulator. They stay the same from the first direct response on. */
  #directRows: readonly NamedTensorValues[] | undefined;
  #calls: Call[] = [];
  #isScheduled = false;
  #isAwaitingResponse = false;

  private constructor(world: RemoteWorld, size: number, options: RemoteEnvironmentOptions) {
    this.size = size;
    this.#world = world;
    this.#requireBatch();
    this.#names = world.choose(options.observations, isReserved);
    this.#requested = [
      ...reservedObservations(world.where, world.observationSpec, size),
      batchNames.state,
      ...this.#names,
    ];
    this.#request = world.request(this.#requested, options);
    this.#errorRequest = world.request([batchNames.errorCode, batchNames.error]);
    const actionSpecs = Object.values(world.actionSpec).filter(({ name }) => !isReserved(name));
    this.#actions = Object.fromEntries(actionSpecs.map((spec) => [spec.name, neutralValue(spec)]));
    this.#neutral = Object.fromEntries(actionSpecs.map((spec) => [spec.name, neutralValue(spec)]));
    this.#commands = new Int32Array(size).fill(batchCommands.wait);
    this.#seeds = new BigInt64Array(size).fill(noSeed);
  }

  /**
   * Connects, creates a world of `size` simulators and joins it.
   * @throws ConnectionLostError if no server answers; PmpoError if the server refuses, or creates a world of another form.
   */
  static async connect(options: RemoteEnvironmentOptions, size: number): Promise<RemoteBatch> {
    const createSettings = { ...options.createSettings, batchSize: size };
    const world = await RemoteWorld.join({ ...options, createSettings }).catch((error: unknown) => {
      if (!(error instanceof DmEnvRpcError)) throw error;
      throw new PmpoError({
        where: error.details.where,
        what: `${error.details.what} (the request was for ${size} simulators on one stream, setting batchSize)`,
        remedy: 'If the server does not know that setting, set environment.envsPerStream to 1',
        cause: error,
      });
    });
    try {
      return new RemoteBatch(world, size, options);
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** @throws PmpoError if the world does not have the form of a batch of this size. */
  #requireBatch(): void {
    const { where, actionSpec, observationSpec } = this.#world;
    const missing: string[] = [batchNames.command, batchNames.seed].filter(
      (name) => actionSpec[name] === undefined,
    );
    missing.push(
      ...[batchNames.state, batchNames.errorCode, batchNames.error].filter(
        (name) => observationSpec[name] === undefined,
      ),
    );
    const odd = [...Object.values(actionSpec), ...Object.values(observationSpec)].find(
      ({ shape }) => shape[0] !== this.size,
    );
    const open = Object.values(actionSpec).find(({ shape }) => shape.some((n) => n < 0));
    if (missing.length === 0 && odd === undefined && open === undefined) return;
    const what =
      missing.length > 0
        ? `it has no ${missing.join(', ')}`
        : odd !== undefined
          ? `'${odd.name}' has the shape [${odd.shape}]`
          : `the action '${open!.name}' has the shape [${open!.shape}]`;
    throw new PmpoError({
      where,
      what: `the server did not create ${this.size} simulators on one stream: ${what}`,
      remedy: 'If the server does not support this, set environment.envsPerStream to 1',
    });
  }

  /** Whether the connection is lost, for all simulators on it. */
  get isLost(): boolean {
    return this.#world.isLost;
  }

  /** Simulator `member` (0 … N − 1) as an Environment, whose `close` is the given function. */
  environment(member: number, close: () => Promise<void>): Environment {
    const specs = (names: readonly string[], from: NamedSpecs): NamedSpecs =>
      Object.fromEntries(names.map((name) => [name, rowSpec(from[name], member)]));
    return new BatchMember(
      {
        where: `${this.#world.where}, simulator ${member}`,
        observationSpec: specs(this.#names, this.#world.observationSpec),
        actionSpec: specs(Object.keys(this.#actions), this.#world.actionSpec),
        reset: (seed) => this.#call(member, 'reset', { seed }),
        step: (action) => this.#call(member, 'step', { action }),
        requireInStep: () => this.#world.requireInStep(),
        scene: () => this.#world.scene(member),
        poses: () => this.#world.poses(member),
      },
      close,
    );
  }

  /** Adds a request for one simulator to the next message. Actions must fit their specs. */
  #call(
    member: number,
    command: Command,
    { action = {}, seed }: { readonly action?: NamedTensorValues; readonly seed?: number },
  ): Promise<Outcome> {
    for (const name of Object.keys(command === 'step' ? this.#actions : {})) {
      const from = action[name]?.data ?? rowOf(this.#neutral[name].data, member, this.size);
      writeRow(this.#actions[name].data, member, from);
    }
    this.#commands[member] = batchCommands[command];
    this.#seeds[member] = seed === undefined ? noSeed : BigInt(seed);
    return new Promise((resolve, reject) => {
      this.#calls.push({ member, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isAwaitingResponse || this.#calls.length === 0) return;
    this.#isScheduled = true;
    // By then, the code that the last response has resumed has made its requests, and one message carries them all.
    setImmediate(() => {
      this.#isScheduled = false;
      this.#isAwaitingResponse = true;
      void this.#send().finally(() => {
        this.#isAwaitingResponse = false;
        this.#schedule();
      });
    });
  }

  /** Sends the waiting calls as one message, and settles them. */
  async #send(): Promise<void> {
    const calls = this.#calls;
    this.#calls = [];
    try {
      const answer = await this.#exchange();
      const failed = this.#deliver(calls, answer);
      if (failed.length > 0) await this.#explain(failed);
    } catch (error) {
      // This has no effect on calls that are already settled.
      for (const { reject } of calls) reject(error);
    }
  }

  #exchange(): Promise<StepResponse> {
    const shape = [this.size];
    const isIn = (command: Command) => this.#commands.includes(batchCommands[command]);
    const answer = this.#world.step(
      {
        [batchNames.command]: { dtype: 'int32', shape, data: this.#commands },
        ...(isIn('step') ? this.#actions : {}),
        ...(isIn('reset') ? { [batchNames.seed]: { dtype: 'int64', shape, data: this.#seeds } } : {}),
      },
      this.#request,
    );
    // The message is encoded by now, so the arrays can be used for the next one.
    this.#commands.fill(batchCommands.wait);
    this.#seeds.fill(noSeed);
    return answer;
  }

  /** Resolves the calls whose simulators have answered, and returns those whose simulators have failed. */
  #deliver(calls: readonly Call[], { values, isDirect }: StepResponse): readonly Call[] {
    if (!isDirect) this.#world.requireAll(values, this.#requested);
    if (isDirect) this.#directRows ??= this.#rows(values);
    const rows = isDirect ? this.#directRows! : this.#rows(values);
    const states = values[batchNames.state].data as Int32Array;
    const numberOf = (member: number, value?: TensorValue) => value && Number(value.data[member]);
    const failed: Call[] = [];
    for (const call of calls) {
      const { member, resolve } = call;
      const state = states[member];
      if (isEnvironmentState(state))
        resolve({
          observation: rows[member],
          reward: numberOf(member, values.reward)!,
          discount: numberOf(member, values.discount),
          state,
        });
      else if (state === noEpisode) failed.push(call);
      else call.reject(this.#unknownState(member, state));
    }
    return failed;
  }

  #unknownState(member: number, state: number): PmpoError {
    return new PmpoError({
      where: `${this.#world.where}, simulator ${member}`,
      what: `its state is ${state}, which dm_env_rpc does not have`,
    });
  }

  #rows(values: NamedTensorValues): NamedTensorValues[] {
    return Array.from({ length: this.size }, (_, i) =>
      Object.fromEntries(
        this.#names.map((name) => {
          const { dtype, shape, data } = values[name];
          return [name, { dtype, shape: shape.slice(1), data: rowOf(data, i, this.size) }];
        }),
      ),
    );
  }

  /** Requests the errors of failed simulators, and rejects their calls. */
  async #explain(failed: readonly Call[]): Promise<void> {
    const wait: TensorValue = {
      dtype: 'int32',
      shape: [this.size],
      data: new Int32Array(this.size).fill(batchCommands.wait),
    };
    const { values } = await this.#world.step({ [batchNames.command]: wait }, this.#errorRequest);
    this.#world.requireAll(values, [batchNames.errorCode, batchNames.error]);
    for (const { member, reject } of failed) {
      const code = Number(values[batchNames.errorCode].data[member]);
      reject(
        new DmEnvRpcError(this.#world.address, 'Step', code, String(values[batchNames.error].data[member])),
      );
    }
  }

  /** Leaves the world, destroys it and disconnects. Never fails. */
  close(): Promise<void> {
    return this.#world.close();
  }
}
