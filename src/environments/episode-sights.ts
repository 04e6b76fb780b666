import { packBytes, packNumbers } from '../core/packed-numbers.js';
import { poseSize, type Scene } from '../core/scene.js';
import { sizeOf } from '../core/shape.js';
import type { Environment, NamedTensorValues, TensorSpec } from './environment.js';
import type { EpisodeRecording, RecordedTraces } from './episode-recording.js';
import { isNumeric } from './tensor-data.js';

/** What of an environment a recording of its episode keeps: poses, the frames of an image, or numbers. */

/** The most that is kept. */
const limits = {
  moments: 1001,
  /** Numbers of poses. */
  poseNumbers: 250_000,
  frames: 150,
  /** Larger images are thinned to at most this many rows and columns. */
  imageSide: 128,
  /** Characters of a recording's frames. */
  frameText: 600_000,
  observationTraces: 24,
  actionTraces: 12,
} as const;

/** What one moment is kept as: [numbers], until it is asked for. */
export type Moment = Promise<Float32Array | undefined>;

/** How the moments of an environment are looked at. */
export interface Sight {
  readonly most: number;
  look(observation: NamedTensorValues, action: NamedTensorValues | undefined): Moment;
  /** The recording's part for these moments, [F, numbers]; undefined if they are too many for its size. Two are never too many. */
  pack(moments: readonly Float32Array[]): Partial<EpisodeRecording> | undefined;
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
      if (data.length > limits.frameText && moments.length > 2) return undefined;
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

/** Chooses what of an environment is kept. */
export async function sightOf(environment: Environment): Promise<Sight> {
  const scene = await environment.scene?.();
  if (scene !== undefined && scene.geoms.length > 0 && environment.poses !== undefined)
    return sightOfScene(scene, () => environment.poses!());
  for (const spec of Object.values(environment.observationSpec)) {
    const layout = imageLayout(spec);
    if (layout !== undefined) return sightOfImage(layout);
  }
  return sightOfNumbers(environment);
}
