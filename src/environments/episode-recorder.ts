import { type PackedNumbers, packBytes, packNumbers } from '../core/packed-numbers.js';
import { poseSize, type Scene } from '../core/scene.js';
import { sizeOf } from '../core/shape.js';
import type { Environment, NamedTensorValues, Reset, Step, TensorSpec } from './environment.js';
import { isNumeric } from './tensor-data.js';

/**
 * Records what one episode of an environment looks like, in a few hundred kB: the poses of its bodies if it tells them, otherwise the
 * frames of an image among its observations, otherwise its observations and actions as numbers. Long episodes are thinned.
 * Shapes: F moments kept, from the reset (0) on, at equal distances.
 */

/** Images of an episode: F frames, one after the other, each row by row. */
export interface RecordedFrames {
  /** The observation that they are. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** 3 for red, green and blue, 1 for gray. */
  readonly channels: 1 | 3;
  /** Bytes, deflated, in base64. */
  readonly data: string;
}

/** Numbers of an episode. */
export interface RecordedTraces {
  /** The name of each column: `position[0]`. */
  readonly names: readonly string[];
  /** [F, columns] */
  readonly values: PackedNumbers;
}

/** One episode, to be looked at. */
export interface EpisodeRecording {
  readonly format: 'pmpo episode 1';
  /** The undiscounted return. */
  readonly return: number;
  /** The steps of the simulator. */
  readonly steps: number;
  /** The steps between two moments kept. */
  readonly every: number;
  /** Whether it ended in a terminal state. */
  readonly terminated: boolean;
  /** The mean reward per step since the moment before, [F, 1]; 0 at the reset. */
  readonly rewards: PackedNumbers;
  readonly scene?: Scene;
  /** The poses of the scene's bodies, [F, 7 B]. */
  readonly poses?: PackedNumbers;
  readonly frames?: RecordedFrames;
  readonly observations?: RecordedTraces;
  readonly actions?: RecordedTraces;
}

/** The most that is kept. */
const limits = {
  moments: 1001,
  /** Numbers of poses. */
  poseNumbers: 250_000,
  frames: 150,
  /** Larger images are thinned to at most this many rows and columns. */
  imageSide: 128,
  observationTraces: 24,
  actionTraces: 12,
} as const;

/** What one moment is kept as: [numbers], until it is asked for. */
type Moment = Promise<Float32Array | undefined>;

/** An episode while it is recorded. All moments but each `every`th are dropped; when there are too many, `every` doubles. */
class OpenRecording {
  every = 1;
  readonly #most: number;
  moments: Moment[] = [];
  /** The reward of every step. */
  readonly rewards: number[] = [];
  terminated = false;
  isOver = false;

  constructor(most: number) {
    this.#most = Math.max(2, most);
  }

  /** Adds the moment after `steps` steps if it is one that is kept. */
  add(steps: number, look: () => Moment): void {
    if (steps % this.every !== 0) return;
    const moment = look();
    // It is awaited at the end; until then, its failure must not look like one that nobody handles.
    moment.catch(() => {});
    this.moments.push(moment);
    if (this.moments.length <= this.#most) return;
    this.moments = this.moments.filter((_, i) => i % 2 === 0);
    this.every *= 2;
  }
}

/** How the moments of an environment are looked at. */
interface Sight {
  readonly most: number;
  look(observation: NamedTensorValues, action: NamedTensorValues | undefined): Moment;
  /** The recording's part for these moments, [F, numbers]. */
  pack(moments: readonly Float32Array[]): Partial<EpisodeRecording>;
}

/** Joins rows of one length. @throws RangeError if their lengths differ. */
function joined(rows: readonly Float32Array[], length: number): Float32Array {
  const all = new Float32Array(rows.length * length);
  for (const [i, row] of rows.entries()) {
    if (row.length !== length)
      throw new RangeError(`a moment has ${row.length} numbers instead of ${length}`);
    all.set(row, i * length);
  }
  return all;
}

function sightOfScene(scene: Scene, poses: () => Promise<Float32Array>): Sight {
  const numbers = scene.bodies * poseSize;
  return {
    most: Math.min(limits.moments, Math.floor(limits.poseNumbers / Math.max(1, numbers))),
    look: () => poses(),
    pack: (moments) => ({ scene, poses: packNumbers(joined(moments, numbers), numbers) }),
  };
}

/** How an image lies in its tensor. */
interface ImageLayout {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  /** The distance of two rows, columns and channels in the tensor, and where the first channel shown begins. */
  readonly strides: readonly [row: number, column: number, channel: number];
  readonly offset: number;
}

/** The layout of an observation that is an image: bytes with rows, columns and perhaps channels; of a stack of images, the last. */
export function imageLayout({ name, dtype, shape }: TensorSpec): ImageLayout | undefined {
  if (dtype !== 'uint8' || shape.length < 2 || shape.length > 3 || shape.some((n) => n < 1)) return undefined;
  const few = (n: number | undefined) => n !== undefined && n <= 16;
  const [a, b, c] = shape as [number, number, number | undefined];
  if (c === undefined)
    return few(a) || few(b)
      ? undefined
      : { name, height: a, width: b, channels: 1, strides: [b, 1, 0], offset: 0 };
  if (few(c) && !few(a) && !few(b)) {
    const channels = c === 3 ? 3 : 1;
    return {
      name,
      height: a,
      width: b,
      channels,
      strides: [b * c, c, 1],
      offset: channels === 3 ? 0 : c - 1,
    };
  }
  if (few(a) && !few(b) && !few(c)) {
    const channels = a === 3 ? 3 : 1;
    const offset = channels === 3 ? 0 : (a - 1) * b * c;
    return { name, height: b, width: c, channels, strides: [c, 1, b * c], offset };
  }
  return undefined;
}

function sightOfImage({ name, width, height, channels, strides, offset }: ImageLayout): Sight {
  const scale = Math.max(1, Math.ceil(Math.max(width, height) / limits.imageSide));
  const [columns, rows] = [Math.floor(width / scale), Math.floor(height / scale)];
  const size = rows * columns * channels;
  return {
    most: limits.frames,
    async look(observation) {
      const { data } = observation[name]!;
      const [ofRow, ofColumn, ofChannel] = strides;
      const pixels = new Float32Array(size);
      let at = 0;
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < columns; x++)
          for (let c = 0; c < channels; c++)
            pixels[at++] = Number(data[offset + y * scale * ofRow + x * scale * ofColumn + c * ofChannel]);
      return pixels;
    },
    pack: (moments) => {
      const data = packBytes(Uint8Array.from(joined(moments, size)));
      return { frames: { name, width: columns, height: rows, channels, data } };
    },
  };
}

/** The elements of tensors that get a trace, by name and index. */
function traced(specs: readonly TensorSpec[], most: number): { readonly name: string; readonly i: number }[] {
  const numeric = specs.filter(({ dtype, shape }) => isNumeric(dtype) && shape.every((n) => n > 0));
  return numeric
    .flatMap(({ name, shape }) =>
      Array.from({ length: Math.min(most, sizeOf(shape)) }, (_, i) => ({ name, i })),
    )
    .slice(0, most);
}

function sightOfNumbers({ observationSpec, actionSpec }: Environment): Sight {
  const observed = traced(Object.values(observationSpec), limits.observationTraces);
  const acted = traced(Object.values(actionSpec), limits.actionTraces);
  const size = observed.length + acted.length;
  const names = (of: typeof observed, specs: Environment['observationSpec']) =>
    of.map(({ name, i }) => (sizeOf(specs[name]!.shape) === 1 ? name : `${name}[${i}]`));
  const columns = (all: Float32Array, from: number, count: number) => {
    const rows = all.length / size;
    return Float32Array.from(
      { length: rows * count },
      (_, at) => all[Math.floor(at / count) * size + from + (at % count)]!,
    );
  };
  return {
    most: limits.moments,
    look: async (observation, action) => {
      const value = (from: NamedTensorValues | undefined, { name, i }: (typeof observed)[number]) =>
        from === undefined ? Number.NaN : Number(from[name]?.data[i]);
      return Float32Array.from([
        ...observed.map((element) => value(observation, element)),
        ...acted.map((element) => value(action, element)),
      ]);
    },
    pack: (moments) => {
      const all = joined(moments, size);
      const part = (
        of: typeof observed,
        specs: Environment['observationSpec'],
        from: number,
      ): RecordedTraces => ({
        names: names(of, specs),
        values: packNumbers(columns(all, from, of.length), of.length),
      });
      // No action leads to the first moment: it is drawn with that of the second.
      if (moments.length > 1) all.copyWithin(observed.length, size + observed.length, 2 * size);
      return {
        observations: part(observed, observationSpec, 0),
        actions: part(acted, actionSpec, observed.length),
      };
    },
  };
}

/** Options of an EpisodeRecorder. */
export interface EpisodeRecorderOptions {
  /** Receives a line when an episode cannot be recorded; the episode itself goes on. */
  readonly notice: (message: string) => void;
}

/**
 * Records the first whole episode after each `start` of the environment that it has wrapped. The environment is reset and stepped as
 * without it: what is recorded is only looked at.
 */
export class EpisodeRecorder {
  readonly #notice: (message: string) => void;
  #isArmed = false;
  #sight: Sight | undefined;
  #recording: OpenRecording | undefined;
  #hasFailed = false;

  constructor({ notice }: EpisodeRecorderOptions) {
    this.#notice = notice;
  }

  /** The environment, whose episodes this recorder looks at. Wrap the one that takes its place after a lost connection, too. */
  wrap(environment: Environment): Environment {
    this.#sight = undefined;
    this.#recording = undefined;
    return new RecordedEnvironment(environment, this);
  }

  /** The episode of the next reset is recorded. */
  start(): void {
    this.#isArmed = true;
    this.#recording = undefined;
  }

  /** The episode that was recorded since `start`; undefined if none has come to its end, or it could not be recorded. */
  async take(): Promise<EpisodeRecording | undefined> {
    const [recording, sight] = [this.#recording, this.#sight];
    this.#isArmed = false;
    this.#recording = undefined;
    if (recording === undefined || sight === undefined || !recording.isOver) return undefined;
    const { every, rewards, terminated } = recording;
    try {
      const moments: Float32Array[] = [];
      for (const moment of await Promise.all(recording.moments))
        if (moment !== undefined) moments.push(moment);
      const means = moments.map((_, f) => meanOf(rewards.slice(Math.max(0, f - 1) * every, f * every)));
      return {
        format: 'pmpo episode 1',
        return: rewards.reduce((sum, reward) => sum + reward, 0),
        steps: rewards.length,
        every,
        terminated,
        rewards: packNumbers(means, 1),
        ...sight.pack(moments),
      };
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  /** Says once that recording does not work. */
  #fail(error: unknown): void {
    this.#recording = undefined;
    if (!this.#hasFailed) this.#notice(`the episode is not recorded: ${(error as Error).message}`);
    this.#hasFailed = true;
  }

  /** @internal The environment has been reset. */
  async onReset(environment: Environment, { observation }: Reset): Promise<void> {
    // Whoever plays may cut an episode that does not end by itself: the next reset shows it.
    if (this.#recording !== undefined && this.#recording.rewards.length > 0) {
      this.#recording.isOver = true;
      return;
    }
    if (!this.#isArmed || this.#recording?.isOver === true) return;
    try {
      this.#sight ??= await sightOf(environment);
    } catch (error) {
      this.#fail(error);
      this.#isArmed = false;
      return;
    }
    const sight = this.#sight;
    this.#recording = new OpenRecording(sight.most);
    this.#recording.add(0, () => sight.look(observation, undefined));
  }

  /** @internal The environment has been stepped. */
  onStep(action: NamedTensorValues, { observation, reward, terminated, truncated }: Step): void {
    const [recording, sight] = [this.#recording, this.#sight];
    if (recording === undefined || sight === undefined || recording.isOver) return;
    recording.rewards.push(reward);
    recording.add(recording.rewards.length, () => sight.look(observation, action));
    recording.terminated = terminated;
    recording.isOver = terminated || truncated;
  }

  /** @internal A step has failed: the episode is lost. */
  onFailure(): void {
    if (this.#recording?.isOver !== true) this.#recording = undefined;
  }
}

const meanOf = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

async function sightOf(environment: Environment): Promise<Sight> {
  const scene = await environment.scene?.();
  if (scene !== undefined && scene.geoms.length > 0 && environment.poses !== undefined)
    return sightOfScene(scene, () => environment.poses!());
  for (const spec of Object.values(environment.observationSpec)) {
    const layout = imageLayout(spec);
    if (layout !== undefined) return sightOfImage(layout);
  }
  return sightOfNumbers(environment);
}

/** An environment whose episodes a recorder looks at. */
class RecordedEnvironment implements Environment {
  readonly #environment: Environment;
  readonly #recorder: EpisodeRecorder;

  constructor(environment: Environment, recorder: EpisodeRecorder) {
    this.#environment = environment;
    this.#recorder = recorder;
  }

  get where(): string | undefined {
    return this.#environment.where;
  }

  get observationSpec() {
    return this.#environment.observationSpec;
  }

  get actionSpec() {
    return this.#environment.actionSpec;
  }

  async reset(options?: { readonly seed?: number }): Promise<Reset> {
    const reset = await this.#environment.reset(options);
    await this.#recorder.onReset(this.#environment, reset);
    return reset;
  }

  async step(action: NamedTensorValues): Promise<Step> {
    try {
      const step = await this.#environment.step(action);
      this.#recorder.onStep(action, step);
      return step;
    } catch (error) {
      this.#recorder.onFailure();
      throw error;
    }
  }

  async verifySteps(): Promise<void> {
    await this.#environment.verifySteps?.();
  }

  close(): Promise<void> {
    return this.#environment.close();
  }
}
