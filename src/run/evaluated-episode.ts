import { z } from 'zod';
import { unpackBytes } from '../core/packed-numbers.js';
import { readScene } from '../core/read-scene.js';
import { poseSize } from '../core/scene.js';
import type { EpisodeRecording } from '../environments/episode-recording.js';

/** The files of episodes/. */

/** The evaluations of which an episode is kept. */
export type EpisodeName = 'first' | 'last' | 'best';

/** An episode of an evaluation. */
export interface EvaluatedEpisode {
  /** The steps and the updates of the policy that played it. */
  readonly steps: number;
  readonly updates: number;
  readonly episode: EpisodeRecording;
}

const packed = z
  .object({
    rows: z.int().min(1),
    columns: z.int().min(0),
    low: z.array(z.number()),
    step: z.array(z.number()),
    data: z.string(),
  })
  .refine(
    ({ columns, low, step }) => low.length === columns && step.length === columns,
    'columns without their bounds',
  )
  .refine((numbers) => {
    try {
      return unpackBytes(numbers.data).length === 2 * numbers.rows * numbers.columns;
    } catch {
      return false;
    }
  }, 'numbers that cannot be unpacked');
const traces = z
  .object({ names: z.array(z.string()), values: packed })
  .refine(({ names, values }) => names.length === values.columns, 'not a name for each column');
const frames = z.object({
  name: z.string(),
  width: z.int().min(1),
  height: z.int().min(1),
  channels: z.union([z.literal(1), z.literal(3)]),
  data: z.string(),
});
/** JSON has null for numbers that are not finite. */
const score = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const evaluatedSchema = z.object({
  steps: z.int().min(0),
  updates: z.number().min(0),
  episode: z.object({
    format: z.literal('pmpo episode 1'),
    return: score,
    steps: z.int().min(0),
    every: z.int().min(1),
    terminated: z.boolean(),
    rewards: packed,
    scene: z.unknown().optional(),
    poses: packed.optional(),
    frames: frames.optional(),
    observations: traces.optional(),
    actions: traces.optional(),
  }),
});

/** Reads an episode from what its file holds. @throws Error that says what is wrong with it. */
export function readEvaluatedEpisode(value: unknown): EvaluatedEpisode {
  const result = evaluatedSchema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new Error(`${path.join('.')}: ${message}`);
  }
  const { episode, ...evaluation } = result.data;
  const { rewards, poses, frames: images, scene: shape, ...rest } = episode;
  const scene = shape === undefined ? undefined : readScene('episode', JSON.stringify(shape));
  if (poses !== undefined && poses.columns !== poseSize * (scene?.bodies ?? 0))
    throw new Error('the poses are not those of the scene');
  const rows = [poses, rest.observations?.values, rest.actions?.values].map((own) => own?.rows);
  if (images !== undefined)
    rows.push(unpackBytes(images.data).length / (images.width * images.height * images.channels));
  if (rows.some((count) => count !== undefined && count !== rewards.rows))
    throw new Error('its parts have different numbers of moments');
  return { ...evaluation, episode: { ...rest, rewards, poses, frames: images, scene } };
}
