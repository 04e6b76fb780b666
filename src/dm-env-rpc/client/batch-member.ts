import { ConnectionLostError, PmpoError } from '../../core/errors.js';
import type { Scene } from '../../core/scene.js';
import type {
  Environment,
  NamedSpecs,
  NamedTensorValues,
  Reset,
  Step,
} from '../../environments/environment.js';
import { type EpisodePhase, requireRunning } from '../../environments/episode-phase.js';
import { checkActions } from '../../environments/spec-checks.js';
import { environmentStates } from '../codec/messages.js';

/** The result of a reset or step of one simulator. */
export interface Outcome {
  readonly observation: NamedTensorValues;
  readonly reward: number;
  /** Undefined if the server sends none. */
  readonly discount: number | undefined;
  /** dm_env_rpc's number of the state. */
  readonly state: number;
}

/** One simulator of a remote batch, as its member sees it. */
export interface Simulator {
  readonly where: string;
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  reset(seed: number | undefined): Promise<Outcome>;
  step(action: NamedTensorValues): Promise<Outcome>;
  requireInStep(): Promise<void>;
  scene(): Promise<Scene | undefined>;
  poses(): Promise<Float32Array>;
}

/** One simulator of a remote batch as an Environment. After an error it must be reset. */
export class BatchMember implements Environment {
  readonly observationSpec: NamedSpecs;
  readonly actionSpec: NamedSpecs;
  readonly #simulator: Simulator;
  readonly #close: () => Promise<void>;
  #phase: EpisodePhase = 'fresh';
  #isBusy = false;
  #closed = false;

  constructor(simulator: Simulator, close: () => Promise<void>) {
    this.observationSpec = simulator.observationSpec;
    this.actionSpec = simulator.actionSpec;
    this.#simulator = simulator;
    this.#close = close;
  }

  get where(): string {
    return this.#simulator.where;
  }

  async reset({ seed }: { readonly seed?: number } = {}): Promise<Reset> {
    if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) {
      const what = `the seed is ${seed}. It must be a whole number of 0 or more`;
      throw new PmpoError({ where: this.#simulator.where, what });
    }
    const { observation, state } = await this.#exclusively(() => this.#simulator.reset(seed));
    return { observation, ...this.#enter(state), info: {} };
  }

  /** Enters the phase that a state leads to. */
  #enter(state: number): { terminated: boolean; truncated: boolean } {
    const terminated = state === environmentStates.terminated;
    const truncated = state === environmentStates.interrupted;
    this.#phase = terminated || truncated ? 'ended' : 'running';
    return { terminated, truncated };
  }

  async step(action: NamedTensorValues): Promise<Step> {
    const { where } = this.#simulator;
    requireRunning(this.#phase, where);
    checkActions(this.actionSpec, action, where);
    const { state, ...outcome } = await this.#exclusively(() => this.#simulator.step(action));
    return { ...outcome, ...this.#enter(state), info: {} };
  }

  verifySteps(): Promise<void> {
    return this.#simulator.requireInStep();
  }

  scene(): Promise<Scene | undefined> {
    return this.#simulator.scene();
  }

  poses(): Promise<Float32Array> {
    return this.#simulator.poses();
  }

  /** Makes a call of the simulator, which can handle one at a time. */
  async #exclusively(call: () => Promise<Outcome>): Promise<Outcome> {
    const { where } = this.#simulator;
    if (this.#closed) throw new ConnectionLostError({ where, what: 'this environment was closed' });
    if (this.#isBusy) {
      const what = 'step or reset called before the last call had returned';
      throw new PmpoError({ where, what, remedy: 'Await each call before the next' });
    }
    this.#isBusy = true;
    try {
      return await call();
    } catch (error) {
      // The episode is over, or its state is unknown.
      this.#phase = 'ended';
      throw error;
    } finally {
      this.#isBusy = false;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#close();
  }
}
