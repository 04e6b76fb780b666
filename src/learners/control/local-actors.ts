import type { Checkpoint } from '../../run/checkpoints.js';
import { ActingLoop, type ActingLoopOptions } from './acting-loop.js';
import type { Averages } from './averages.js';
import type { ControlLearnerConfig } from './config.js';
import type {
  Experience,
  ExperienceShape,
  ExperienceSnapshot,
  LearnerProgress,
  PendingExperience,
} from './experience.js';

/** What `LocalActors` needs. */
export interface LocalActorsOptions extends Omit<ActingLoopOptions, 'onEpisode'> {
  readonly config: ControlLearnerConfig;
  readonly averages: Averages;
  readonly notice: (message: string) => void;
}

/**
 * Experience from K environments that the learner's own process steps, on a schedule that depends on step counts only, not on timing: one step of
 * every environment per call, and updates by the number of steps recorded. The same seed gives the same experience.
 */
export class LocalActors implements Experience {
  readonly shape: ExperienceShape;
  readonly needsCheckpointAtStart = false;
  readonly #options: LocalActorsOptions;
  readonly #loop: ActingLoop;

  constructor(options: LocalActorsOptions) {
    this.#options = options;
    this.shape = options.environment;
    this.#loop = new ActingLoop({
      ...options,
      onEpisode: (episodeReturn, length) =>
        options.averages.add({ 'acting/return': episodeReturn, 'acting/length': length }),
    });
  }

  async begin(resume?: Checkpoint): Promise<void> {
    if (resume === undefined) return this.#loop.reset();
    for (const k of await this.#loop.restore(resume)) {
      this.#options.notice(
        `Environment ${k} did not return to the state in which it was stopped: its simulator is not deterministic, or was reset. The run continues from the state that it is in now`,
      );
    }
  }

  async gather({ environmentSteps }: LearnerProgress): Promise<PendingExperience> {
    const { stepped } = await this.#loop.startStep(environmentSteps, environmentSteps);
    return { arrived: stepped.then((step) => () => this.#loop.record(step)) };
  }

  verify(): Promise<void> {
    return this.#options.environment.verifySteps();
  }

  updatesAllowed(environmentSteps: number): number {
    const { warmupSteps, stepsPerUpdate } = this.#options.config.learner;
    return Math.floor((environmentSteps - warmupSteps) / stepsPerUpdate);
  }

  updatesDue(environmentSteps: number): number {
    return this.updatesAllowed(environmentSteps);
  }

  totals(): Readonly<Record<string, number>> {
    return { 'acting/failures': this.#loop.failures };
  }

  snapshot(): ExperienceSnapshot {
    return this.#loop.snapshot();
  }

  async saved(): Promise<void> {}

  async end(): Promise<void> {}

  close(): Promise<void> {
    return this.#options.environment.close();
  }
}
