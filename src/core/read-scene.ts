import { z } from 'zod';
import { PmpoError } from './errors.js';

/** The form of a scene, and reading one that came from outside; scene.ts says what it is. */

/** The most of everything that a scene may have: far above those of any robot. */
const limits = { bodies: 2048, geoms: 4096, meshes: 1024, numbers: 2_000_000 } as const;

const vector = z.tuple([z.number(), z.number(), z.number()]);
const share = z.number().min(0).max(1);

const geomSchema = z.object({
  /** MuJoCo's type of geom. */
  shape: z.enum(['plane', 'sphere', 'capsule', 'ellipsoid', 'cylinder', 'box', 'mesh']),
  /** MuJoCo's sizes: a radius, half lengths or half extents, by shape. A plane of the size 0 has no end. Of a mesh: unused. */
  size: vector,
  /** The row of its body in the poses; -1 for what never moves. */
  body: z.int().min(-1),
  /** The place in the frame of its body. */
  position: vector,
  rotation: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  /** Red, green, blue and opacity, from 0 to 1. Absent: the model does not say. */
  color: z.tuple([share, share, share, share]).optional(),
  /** The index of the mesh, for the shape `mesh`. */
  mesh: z.int().min(0).optional(),
});

const meshSchema = z.object({
  /** Coordinates, [V, 3] in a row. */
  vertices: z.array(z.number()),
  /** Indices of the corners of triangles, [F, 3] in a row. */
  faces: z.array(z.int().min(0)),
});

const sceneSchema = z.object({
  /** B */
  bodies: z.int().min(0).max(limits.bodies),
  geoms: z.array(geomSchema).max(limits.geoms),
  meshes: z.array(meshSchema).max(limits.meshes),
  /** Simulated seconds of a step. Absent: not known. */
  secondsPerStep: z.number().positive().optional(),
});

/** The geoms of a simulator. */
export type Scene = z.infer<typeof sceneSchema>;
/** A rigid part of a scene. */
export type SceneGeom = z.infer<typeof geomSchema>;
/** A mesh that geoms of a scene have. */
export type SceneMesh = z.infer<typeof meshSchema>;

/**
 * Reads a scene that came from outside, as JSON text.
 * @throws PmpoError if it is not JSON, is not of this form, or refers to a body, a mesh or a vertex that it does not have.
 */
export function readScene(where: string, text: string): Scene {
  const refusal = (what: string, cause?: unknown) =>
    new PmpoError({
      where,
      what: `the scene ${what}`,
      remedy: 'The server, or the file, that it comes from has to be mended',
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refusal('is not JSON', cause);
  }
  const result = sceneSchema.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw refusal(`is not of pmpo's form: ${path.join('.')}: ${message}`);
  }
  const scene = result.data;
  const numbers = scene.meshes.reduce((sum, { vertices, faces }) => sum + vertices.length + faces.length, 0);
  if (numbers > limits.numbers)
    throw refusal(`has meshes of ${numbers} numbers, and may have ${limits.numbers}`);
  for (const [i, { body, shape, mesh }] of scene.geoms.entries()) {
    if (body >= scene.bodies) throw refusal(`has ${scene.bodies} bodies, and geom ${i} is on body ${body}`);
    if (shape === 'mesh' && !(mesh !== undefined && mesh < scene.meshes.length))
      throw refusal(`has ${scene.meshes.length} meshes, and geom ${i} has mesh ${mesh}`);
  }
  for (const [i, { vertices, faces }] of scene.meshes.entries()) {
    if (vertices.length % 3 !== 0 || faces.length % 3 !== 0 || faces.some((v) => v >= vertices.length / 3))
      throw refusal(`has a broken mesh ${i}`);
  }
  return scene;
}
