import type { Config } from '../../config/schema.js';
import type { RandomKey } from '../../core/random-keys.js';
import type { DistributionFamily } from '../../distributions/distribution.js';
import type { HostTensor } from '../../engine/tensors.js';
import type { VectorEnvironment, VectorStep } from '../../environments/vector-environment.js';
import { NStepWindows, type TransitionSink } from '../../replay/n-step.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { Averages } from './averages.js';
import { prefixed, requiredTensor, under } from './checkpoint.js';
import type { Experience, ExperienceShape, ExperienceSnapshot, LearnerProgress } from './experience.js';
import { ActingNoise, correlations, headNoise, randomActions } from './noise.js';

/** Letters: K worlds, O observation size, A action dimensions. */
export interface OwnWorldsOptions {
  readonly config: Config;
  readonly environment: VectorEnvironment;
  readonly family: DistributionFamily;
  readonly key: RandomKey;
  /** Actions [K, A] of the present policy for observations [K, O] and noise [K, A] of the head's kind. */
  readonly act: (observations: Float32Array, noise: Float32Array, numEnvs: number) => Promise<Float32Array>;
  readonly sink: TransitionSink;
  readonly averages: Averages;
  readonly notice: (message: string) => void;
}

/**
 * Experience from K worlds of the learner's own, by a schedule that counts and never races: one step of every world for
 * each call, and updates by the steps that have been taken in. The same seed gives the same experience.
 */
export class OwnWorlds implements Experience {
  readonly shape: ExperienceShape;
  readonly needsCheckpointAtStart = false;
  readonly #o: OwnWorldsOptions;
  readonly #windows: NStepWindows;
  readonly #noise: ActingNoise;
  #observations: Float32Array = new Float32Array();
  /** Of each world's open episode. */
  #episodeSteps: number[];
  #episodeReturns: number[];

  constructor(options: OwnWorldsOptions) {
    const { config, environment, key } = options;
    const { numEnvs, observationSize, actionSize } = environment;
    this.#o = options;
    this.shape = environment;
    this.#windows = new NStepWindows({
      numEnvs,
      observationSize,
      actionSize,
      steps: config.replay.nStep,
      discount: config.learner.discount,
    });
    this.#noise = new ActingNoise(
      numEnvs,
      correlations(config.learner.explorationCorrelation, environment.actionValues),
      key,
    );
    this.#episodeSteps = Array(numEnvs).fill(0);
    this.#episodeReturns = Array(numEnvs).fill(0);
  }

  async begin(resume?: Checkpoint): Promise<void> {
    if (resume === undefined) this.#observations = await this.#o.environment.reset();
    else await this.#restore(resume);
  }

  async #restore(checkpoint: Checkpoint): Promise<void> {
    const { environment, notice } = this.#o;
    const { numEnvs, observationSize: o, actionSize } = environment;
    // Checked first: the number of worlds shapes everything else.
    const observations = requiredTensor(checkpoint, 'acting/observations', [numEnvs, o]);
    for (const [name, tensor] of Object.entries(this.#windows.snapshot())) {
      requiredTensor(checkpoint, `windows/${name}`, tensor.shape);
    }
    this.#windows.restore(under('windows', checkpoint.tensors));
    this.#noise.restore(requiredTensor(checkpoint, 'acting/noise', this.#noise.snapshot().shape));
    const { counters, openEpisodes } = structuredClone(checkpoint.metadata) as {
      counters: { episodeSteps: number[]; episodeReturns: number[] };
      openEpisodes: { episode: number; seed: number }[];
    };
    this.#episodeSteps = counters.episodeSteps;
    this.#episodeReturns = counters.episodeReturns;
    this.#observations = await environment.restore(
      openEpisodes.map((episode, k) => ({
        ...episode,
        actions: requiredTensor(checkpoint, `openEpisode${k}/actions`, [counters.episodeSteps[k], actionSize])
          .data as Float32Array,
      })),
    );
    for (let k = 0; k < numEnvs; k++) {
      const before = observations.data.subarray(k * o, (k + 1) * o);
      if (before.every((value, i) => value === this.#observations[k * o + i])) continue;
      this.#windows.clear(k);
      notice(
        `world ${k} did not come back to the state it was stopped in: its simulator is not deterministic, or it was reset. The run goes on from where that world is now`,
      );
    }
  }

  async gather({ environmentSteps }: LearnerProgress): Promise<{ readonly arrived: Promise<() => number> }> {
    const { environment } = this.#o;
    const actions = await this.#chooseActions(environmentSteps);
    const arrived = environment.step(actions).then((step) => () => {
      return this.#remember(step);
    });
    return { arrived };
  }

  async #chooseActions(environmentSteps: number): Promise<Float32Array> {
    const { config, environment, family, act } = this.#o;
    const z = this.#noise.advance(environmentSteps);
    if (environmentSteps < config.learner.warmupSteps) return randomActions(z, environment.actionValues);
    return act(this.#observations, headNoise(family, z), environment.numEnvs);
  }

  /** Takes in what the worlds that answered came to; returns how many these were. */
  #remember(step: VectorStep): number {
    const { environment, sink, averages } = this.#o;
    let answered = 0;
    const { observationSize: o, actionSize: a } = environment;
    for (let k = 0; k < environment.numEnvs; k++) {
      if (step.ready[k] === 0) continue;
      answered += 1;
      const end = {
        terminated: step.terminated[k] === 1,
        truncated: step.truncated[k] === 1,
        lost: step.lost[k] === 1,
      };
      this.#windows.step(
        k,
        this.#observations.subarray(k * o, (k + 1) * o),
        step.actions.subarray(k * a, (k + 1) * a),
        step.rewards[k],
        step.finalObservations.subarray(k * o, (k + 1) * o),
        end,
        sink,
      );
      this.#episodeSteps[k] += 1;
      if (!end.lost) this.#episodeReturns[k] += step.rewards[k];
      if (end.terminated || end.truncated || end.lost) {
        if (!end.lost) {
          averages.add({
            'acting/return': this.#episodeReturns[k],
            'acting/length': this.#episodeSteps[k],
          });
        }
        this.#episodeReturns[k] = 0;
        this.#episodeSteps[k] = 0;
      }
      this.#observations.set(step.observations.subarray(k * o, (k + 1) * o), k * o);
    }
    return answered;
  }

  updatesAllowed(environmentSteps: number): number {
    const { warmupSteps, stepsPerUpdate } = this.#o.config.learner;
    return Math.floor((environmentSteps - warmupSteps) / stepsPerUpdate);
  }

  updatesDue(environmentSteps: number): number {
    return this.updatesAllowed(environmentSteps);
  }

  snapshot(): ExperienceSnapshot {
    const { environment } = this.#o;
    const { numEnvs, observationSize, actionSize } = environment;
    const open = environment.state();
    const openActions = open.map(({ actions }, k): [string, HostTensor] => [
      `openEpisode${k}/actions`,
      {
        shape: [this.#episodeSteps[k], actionSize],
        // After a failed step a world may be one action ahead of what was learned from.
        data: actions.slice(0, this.#episodeSteps[k] * actionSize),
      },
    ]);
    return {
      tensors: {
        ...prefixed('windows', this.#windows.snapshot()),
        'acting/noise': this.#noise.snapshot(),
        'acting/observations': { shape: [numEnvs, observationSize], data: this.#observations.slice() },
        ...Object.fromEntries(openActions),
      },
      // Copies: acting goes on counting in its own.
      counters: { episodeSteps: [...this.#episodeSteps], episodeReturns: [...this.#episodeReturns] },
      metadata: { openEpisodes: open.map(({ episode, seed }) => ({ episode, seed })) },
    };
  }

  async saved(): Promise<void> {}

  async end(): Promise<void> {}

  close(): Promise<void> {
    return this.#o.environment.close();
  }
}
