import type { RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { HostTensor, NamedHostTensors } from '../../engine/tensors.js';
import type { VectorEnvironment, VectorStep } from '../../environments/vector-environment.js';
import { NStepWindows, type TransitionSink } from '../../replay/n-step.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import { prefixed, requiredTensor, requiredUnder } from './checkpoint.js';
import type { ActorConfig } from './config.js';
import type { ExperienceSnapshot } from './experience.js';
import { Exploration } from './exploration.js';
import { headNoise } from './noise.js';
import { returnSteps } from './return-steps.js';

/** What `ActingLoop` needs. Shapes: K environments, O observation size, A action dimensions. */
export interface ActingLoopOptions {
  readonly config: Pick<ActorConfig, 'learner' | 'replay'>;
  /** The K environments to act in. */
  readonly environment: VectorEnvironment;
  readonly family: DistributionFamily;
  /** Determines the exploration. */
  readonly key: RandomKey;
  /** Canonical actions [K, A] of the current policy for observations [K, O] and noise [K, A] of the head's kind. */
  readonly act: (observations: Float32Array, noise: Float32Array, numEnvs: number) => Promise<Float32Array>;
  /** Receives every complete n-step transition. */
  readonly sink: TransitionSink;
  /** Receives the undiscounted return of every episode that ends, and its length in simulator steps. */
  readonly onEpisode: (episodeReturn: number, length: number) => void;
}

/**
 * Acts in K environments and turns their steps into n-step transitions: exploration noise, return windows, and the sums of
 * each episode. The learner's own process and the actor processes of `pmpo act` share it.
 */
export class ActingLoop {
  readonly #options: ActingLoopOptions;
  readonly #windows: NStepWindows;
  readonly #exploration: Exploration;
  /** The exploration before a step that was started and not recorded: a resumed run starts it again. */
  #explorationBefore: NamedHostTensors | undefined;
  /** A step that has ended and is not recorded. */
  #unrecorded: VectorStep | undefined;
  /** The observations that the next actions are chosen on, [K, O]. */
  #observations: Float32Array = new Float32Array();
  /** The actions, the simulator steps and the return of each environment's open episode, [K]. */
  #episodeActions: number[];
  #episodeSteps: number[];
  #episodeReturns: number[];
  /** Failures of the simulator, over the whole run. */
  #failures = 0;
  /** For each environment, the simulator steps of the actions whose transitions are not complete, oldest first. */
  #openSteps: number[][];
  #transitions = 0;
  #transitionSteps = 0;

  constructor(options: ActingLoopOptions) {
    this.#options = options;
    const { config, environment, key } = options;
    const { numEnvs, observationSize, actionSize, actionValues } = environment;
    this.#windows = new NStepWindows({
      numEnvs,
      observationSize,
      actionSize,
      steps: returnSteps(config.replay, actionValues),
      discount: config.learner.discount,
    });
    this.#exploration = new Exploration(config.learner, numEnvs, actionValues, key);
    this.#episodeActions = Array(numEnvs).fill(0);
    this.#episodeSteps = Array(numEnvs).fill(0);
    this.#episodeReturns = Array(numEnvs).fill(0);
    this.#openSteps = Array.from({ length: numEnvs }, () => []);
  }

  /** Starts episode 0 of every environment and forgets all open episodes. Exploration continues from where it is. */
  async reset(): Promise<void> {
    const { environment } = this.#options;
    for (let k = 0; k < environment.numEnvs; k++) this.#windows.clear(k);
    this.#episodeActions.fill(0);
    this.#episodeSteps.fill(0);
    this.#episodeReturns.fill(0);
    for (const open of this.#openSteps) open.length = 0;
    const { observations, emptyEpisodes } = await environment.reset();
    this.#observations = observations;
    for (const empty of emptyEpisodes) this.#noteEmpty(empty);
  }

  /** Failures of the simulator in the steps recorded so far. */
  get failures(): number {
    return this.#failures;
  }

  /** Complete transitions, since this process began. */
  get transitions(): number {
    return this.#transitions;
  }

  /** Simulator steps of the complete transitions and of lost steps, since this process began. */
  get transitionSteps(): number {
    return this.#transitionSteps;
  }

  /** Reports episodes that were over at their reset. */
  #noteEmpty(count: number): void {
    for (let i = 0; i < count; i++) this.#options.onEpisode(0, 0);
  }

  /**
   * Chooses an action for every environment and starts the step, without waiting for its end.
   * @param index number of this step, which determines its randomness.
   * @param steps environment steps that count towards the warm-up, during which actions are random.
   * @returns the pending step, whose result must be recorded before the next step starts.
   */
  async startStep(index: number, steps: number): Promise<{ readonly stepped: Promise<VectorStep> }> {
    const { environment, family, act } = this.#options;
    this.#explorationBefore = this.#exploration.snapshot();
    const actions = await this.#exploration.actions(index, steps, (z) =>
      act(this.#observations, headNoise(family, z), environment.numEnvs),
    );
    return { stepped: this.#step(actions) };
  }

  async #step(actions: Float32Array): Promise<VectorStep> {
    this.#unrecorded = await this.#options.environment.step(actions);
    return this.#unrecorded;
  }

  /** Passes the transitions that a step has completed to the sink. @returns the simulator steps that were taken. */
  record(step: VectorStep): number {
    this.#explorationBefore = undefined;
    this.#unrecorded = undefined;
    const { environment, sink, onEpisode } = this.#options;
    const { numEnvs, observationSize: o, actionSize: a } = environment;
    let stepped = 0;
    for (let k = 0; k < numEnvs; k++) {
      if (step.ready[k] === 0) continue;
      stepped += step.simulatorSteps[k];
      const reward = step.rewards[k];
      const lost = step.lost[k] === 1;
      const ended = step.terminated[k] === 1 || step.truncated[k] === 1;
      if (lost) this.#transitionSteps += step.simulatorSteps[k];
      else this.#openSteps[k].push(step.simulatorSteps[k]);
      this.#windows.step(
        k,
        this.#observations.subarray(k * o, (k + 1) * o),
        step.actions.subarray(k * a, (k + 1) * a),
        { reward, discount: step.discounts[k], ended, lost },
        step.nextObservations.subarray(k * o, (k + 1) * o),
        (...transition) => {
          this.#transitions += 1;
          this.#transitionSteps += this.#openSteps[k].shift()!;
          sink(...transition);
        },
      );
      this.#failures += step.failures[k];
      this.#episodeActions[k] += 1;
      this.#episodeSteps[k] += step.simulatorSteps[k];
      this.#episodeReturns[k] += reward;
      if (ended || lost) {
        // An episode that was lost has no end, so its return would be too small.
        if (!lost) onEpisode(this.#episodeReturns[k], this.#episodeSteps[k]);
        this.#noteEmpty(step.emptyEpisodes[k]);
        this.#episodeReturns[k] = 0;
        this.#episodeSteps[k] = 0;
        this.#episodeActions[k] = 0;
      }
      this.#observations.set(step.currentObservations.subarray(k * o, (k + 1) * o), k * o);
    }
    return stepped;
  }

  /** What is needed to resume from here, the open episodes included. Call it between `record` and `startStep`. */
  snapshot(): ExperienceSnapshot {
    const { environment } = this.#options;
    const { numEnvs, observationSize, actionSize } = environment;
    const open = environment.state(this.#unrecorded);
    const openActions = open.map(({ actions }, k): [string, HostTensor] => [
      `openEpisode${k}/actions`,
      {
        shape: [this.#episodeActions[k], actionSize],
        // After a failed step an environment may be one action ahead of what was recorded.
        data: actions.slice(0, this.#episodeActions[k] * actionSize),
      },
    ]);
    return {
      tensors: {
        ...prefixed('windows', this.#windows.snapshot()),
        ...prefixed('acting', this.#explorationBefore ?? this.#exploration.snapshot()),
        'acting/observations': { shape: [numEnvs, observationSize], data: this.#observations.slice() },
        ...Object.fromEntries(openActions),
      },
      // Copies, because the loop continues to count in its own arrays.
      counters: {
        episodeActions: [...this.#episodeActions],
        episodeSteps: [...this.#episodeSteps],
        episodeReturns: [...this.#episodeReturns],
        failures: this.#failures,
      },
      metadata: { openEpisodes: open.map(({ episode, seed }) => ({ episode, seed })) },
    };
  }

  /**
   * Resumes from a snapshot in a checkpoint: replays the actions of the open episodes.
   * @returns the environments that did not return to the saved state, because they are not deterministic. They continue from the state
   *   that they are in now, and their open windows are dropped.
   * @throws PmpoError when the checkpoint is of another configuration.
   */
  async restore(checkpoint: Checkpoint): Promise<readonly number[]> {
    const { environment } = this.#options;
    const { numEnvs, observationSize: o, actionSize } = environment;
    // Checked first, because the number of environments determines all other shapes.
    const observations = requiredTensor(checkpoint, 'acting/observations', [numEnvs, o]);
    this.#windows.restore(requiredUnder('windows', checkpoint, this.#windows.snapshot()));
    // A checkpoint does not say for how long each of their actions was held.
    this.#openSteps = Array.from(this.#windows.snapshot().lengths.data, (length) =>
      Array<number>(length).fill(environment.actionRepeat),
    );
    this.#exploration.restore(requiredUnder('acting', checkpoint, this.#exploration.snapshot()));
    const { counters, openEpisodes } = structuredClone(checkpoint.metadata) as {
      counters: {
        episodeActions: number[];
        episodeSteps: number[];
        episodeReturns: number[];
        failures: number;
      };
      openEpisodes: { episode: number; seed: number }[];
    };
    this.#episodeActions = counters.episodeActions;
    this.#episodeSteps = counters.episodeSteps;
    this.#episodeReturns = counters.episodeReturns;
    this.#failures = counters.failures;
    this.#observations = await environment.restore(
      openEpisodes.map((episode, k) => ({
        ...episode,
        actions: requiredTensor(checkpoint, `openEpisode${k}/actions`, [
          counters.episodeActions[k],
          actionSize,
        ]).data as Float32Array,
      })),
    );
    const differs = (k: number) =>
      observations.data
        .subarray(k * o, (k + 1) * o)
        .some((value, i) => value !== this.#observations[k * o + i]);
    const strayed = Array.from({ length: numEnvs }, (_, k) => k).filter(differs);
    for (const k of strayed) {
      this.#windows.clear(k);
      this.#openSteps[k] = [];
    }
    return strayed;
  }
}
