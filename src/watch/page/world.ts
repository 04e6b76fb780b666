import { foldIn, randomKey } from '../../core/random-keys.js';
import type { Vector } from '../../core/rotations.js';
import type { Scene } from '../../core/scene.js';
import type { NamedTensorValues } from '../../environments/environment.js';
import { type ActionScaler, scaleActions } from '../../environments/flatten.js';
import { flattenObservations, type ObservationFlattener } from '../../environments/observation-layout.js';
import { builtInTasks } from '../../simulators/built-in-tasks.js';
import { MujocoEnvironment } from '../../simulators/mujoco-environment.js';
import type { WatchedRun } from '../watch-data.js';
import type { BrowserPolicy } from './policy.js';
import { type BodyPoint, placeOfPoint } from './push-point.js';

/** An embedded simulator in the browser, and the policy that acts in it. */

/** One run's simulator. */
export class World {
  policy: BrowserPolicy;
  readonly scene: Scene;
  /** Seconds of the simulator for each action of the policy. */
  readonly secondsPerStep: number;
  /** The poses before and after the last step, [B, 7]. */
  before: Float32Array;
  now: Float32Array;
  /** The reward of each step of this episode. */
  rewards: number[] = [];
  /** The episode has ended. */
  isOver = true;
  readonly #environment: MujocoEnvironment;
  readonly #flattener: ObservationFlattener;
  readonly #scaler: ActionScaler;
  readonly #repeat: number;
  readonly #maxEpisodeSteps: number;
  /** The simulator's steps in this episode. */
  #taken = 0;
  readonly #observation: Float32Array;

  private constructor(
    environment: MujocoEnvironment,
    scene: Scene,
    poses: Float32Array,
    { actionRepeat, maxEpisodeSteps, observations, oneHotObservations }: WatchedRun,
    policy: BrowserPolicy,
  ) {
    this.#environment = environment;
    this.scene = scene;
    this.before = poses;
    this.now = poses;
    this.policy = policy;
    this.#repeat = actionRepeat;
    this.#maxEpisodeSteps = maxEpisodeSteps ?? Infinity;
    this.secondsPerStep = (scene.secondsPerStep ?? 0.02) * actionRepeat;
    const specs = Object.entries(environment.observationSpec);
    const seen = specs.filter(([name]) => observations?.includes(name) ?? true);
    this.#flattener = flattenObservations(Object.fromEntries(seen), { oneHot: oneHotObservations });
    this.#scaler = scaleActions(environment.actionSpec);
    this.#observation = new Float32Array(this.#flattener.size);
  }

  /** Loads MuJoCo and the model. */
  static async open(run: WatchedRun, policy: BrowserPolicy): Promise<World> {
    const task = builtInTasks.find(({ name }) => name === run.simulator);
    if (task === undefined) throw new Error(`there is no simulator '${run.simulator}' in this version`);
    const environment = await MujocoEnvironment.create(task, {
      episodeSteps: run.episodeSteps,
      actionRepeat: run.simulatorRepeat,
      key: foldIn(randomKey(0), 'watch'),
    });
    return new World(environment, await environment.scene(), await environment.poses(), run, policy);
  }

  /** The mass of all bodies, in kg. */
  get mass(): number {
    return this.#environment.mass;
  }

  /** The sum of this episode's rewards. */
  get return(): number {
    return this.rewards.reduce((sum, reward) => sum + reward, 0);
  }

  /** Starts an episode. */
  async reset(seed: number): Promise<void> {
    const { observation } = await this.#environment.reset({ seed });
    this.rewards = [];
    this.#taken = 0;
    this.isOver = false;
    this.now = await this.#environment.poses();
    this.before = this.now;
    this.#see(observation);
  }

  /** Holds an action of the policy for the run's steps, or until the episode ends. @throws if the simulation diverges, which ends it. */
  async step(): Promise<void> {
    if (this.isOver) return;
    const action = this.#scaler.read(await this.policy.act(this.#observation), 0);
    let total = 0;
    try {
      for (let i = 0; i < this.#repeat && !this.isOver; i++) {
        const { reward, observation, terminated, truncated } = await this.#environment.step(action);
        total += reward;
        this.#taken++;
        this.isOver = terminated || truncated || this.#taken >= this.#maxEpisodeSteps;
        this.#see(observation);
      }
    } catch (error) {
      this.isOver = true;
      throw error;
    }
    this.rewards.push(total);
    this.before = this.now;
    this.now = await this.#environment.poses();
  }

  /** Pushes a point of a body in all steps until it is pushed otherwise or the episode starts anew. @param force in newtons */
  push(point: BodyPoint, force: Vector): void {
    this.#environment.push(point.body, force, placeOfPoint(point, this.now));
  }

  #see(observation: NamedTensorValues): void {
    this.#flattener.write(observation, this.#observation, 0);
  }
}
