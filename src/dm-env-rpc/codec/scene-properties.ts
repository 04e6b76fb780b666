import { PmpoError } from '../../core/errors.js';
import { poseSize } from '../../core/scene.js';
import type { TensorValue } from '../../environments/environment.js';

/**
 * What a simulator looks like, over dm_env_rpc: two read-only properties of its properties extension for each simulator of a world,
 * `pmpo/scene/I` (text: a Scene as JSON) and `pmpo/poses/I` (float32 [B, 7]: the poses of its bodies now), where I is the number of
 * the simulator, 0 in a world of one. A server that has them says so in the metadata with which it answers the stream, because
 * some servers end a stream at a request of an extension; others are not asked. Observations and specs are the same with and
 * without them, and a simulator that cannot tell answers NOT_FOUND.
 */

/** The key in the metadata of a stream by which a server says that it has these properties. */
export const sceneMetadataKey = 'pmpo-scene';

/** The part of the scene that a property holds. */
export type ScenePart = 'scene' | 'poses';

/** The key of the property of simulator `simulator`. */
export const sceneKey = (part: ScenePart, simulator: number) => `pmpo/${part}/${simulator}`;

/** The simulator and the part that a key names; undefined for other keys. */
export function partOfKey(key: string): { readonly part: ScenePart; readonly simulator: number } | undefined {
  const [, part, simulator] = /^pmpo\/(scene|poses)\/(\d{1,6})$/.exec(key) ?? [];
  return part === undefined ? undefined : { part: part as ScenePart, simulator: Number(simulator) };
}

const remedy = 'The server has to be mended: docs/reports.md says what it sends';

/** The text of a property. @throws PmpoError if it is not one text. */
export function textOf(where: string, { dtype, data }: TensorValue): string {
  const [text] = data as string[];
  if (dtype === 'string' && data.length === 1 && typeof text === 'string') return text;
  throw new PmpoError({ where, what: `the scene is ${dtype} instead of a text`, remedy });
}

/** The poses of a property, as an array of its own. @throws PmpoError if they are not float32 [B, 7]. */
export function posesOf(where: string, { dtype, shape, data }: TensorValue): Float32Array {
  if (dtype === 'float32' && shape.length === 2 && shape[1] === poseSize)
    return Float32Array.from(data as Float32Array);
  throw new PmpoError({
    where,
    what: `the poses are ${dtype} [${shape.join(', ')}] instead of float32 [B, 7]`,
    remedy,
  });
}
