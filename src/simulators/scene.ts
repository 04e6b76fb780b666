import { rotate } from '../core/rotations.js';
import type { Scene, SceneGeom, SceneMesh } from '../core/scene.js';

/** What a MuJoCo model looks like. */

/** The arrays of mjModel that say it, by MuJoCo's names. */
export interface SceneModel {
  readonly ngeom: number;
  readonly nbody: number;
  readonly nskin: number;
  readonly geom_type: Int32Array;
  readonly geom_size: Float64Array;
  readonly geom_rgba: Float32Array;
  readonly geom_pos: Float64Array;
  readonly geom_quat: Float64Array;
  readonly geom_bodyid: Int32Array;
  readonly geom_group: Int32Array;
  readonly geom_matid: Int32Array;
  readonly geom_dataid: Int32Array;
  readonly mat_rgba: Float32Array;
  readonly mesh_vert: Float32Array;
  readonly mesh_vertadr: Int32Array;
  readonly mesh_vertnum: Int32Array;
  readonly mesh_face: Int32Array;
  readonly mesh_faceadr: Int32Array;
  readonly mesh_facenum: Int32Array;
}

/** The shapes of mjtGeom that are drawn, by number. A height field and a signed distance function are left out. */
const shapes: Readonly<Record<number, SceneGeom['shape']>> = {
  0: 'plane',
  2: 'sphere',
  3: 'capsule',
  4: 'ellipsoid',
  5: 'cylinder',
  6: 'box',
  7: 'mesh',
};

/** MuJoCo's viewer shows the groups below this. */
const visibleGroups = 3;
/** The most triangles of all meshes together; a mesh beyond that becomes the box around it. */
const maxTriangles = 12_000;

/** The color that geoms have in a model that does not say. */
const unspecified = 0.5;

const rounded = (value: number) => Number(value.toPrecision(6));
type Three = [number, number, number];
type Four = [number, number, number, number];
const three = (values: ArrayLike<number>, at: number): Three => [
  rounded(values[3 * at]!),
  rounded(values[3 * at + 1]!),
  rounded(values[3 * at + 2]!),
];
const four = (values: ArrayLike<number>, at: number): Four => [
  rounded(values[4 * at]!),
  rounded(values[4 * at + 1]!),
  rounded(values[4 * at + 2]!),
  rounded(values[4 * at + 3]!),
];

/** The color of geom `i`: its own, or else that of its material. */
function colorOf(model: SceneModel, i: number): Four | undefined {
  const own = four(model.geom_rgba, i);
  if (!own.slice(0, 3).every((value) => value === unspecified) || own[3] !== 1) return own;
  const material = model.geom_matid[i]!;
  return material < 0 ? undefined : four(model.mat_rgba, material);
}

/** The box around the vertices of mesh `id`: its middle and its half extents. */
function boxAround(model: SceneModel, id: number): { readonly middle: Three; readonly half: Three } {
  const start = 3 * model.mesh_vertadr[id]!;
  const vertices = model.mesh_vert.subarray(start, start + 3 * model.mesh_vertnum[id]!);
  const [low, high]: [Three, Three] = [
    [Infinity, Infinity, Infinity],
    [-Infinity, -Infinity, -Infinity],
  ];
  for (const [i, value] of vertices.entries()) {
    low[i % 3] = Math.min(low[i % 3]!, value);
    high[i % 3] = Math.max(high[i % 3]!, value);
  }
  return {
    middle: [0, 1, 2].map((i) => rounded((low[i]! + high[i]!) / 2)) as Three,
    half: [0, 1, 2].map((i) => rounded((high[i]! - low[i]!) / 2)) as Three,
  };
}

function meshOf(model: SceneModel, id: number): SceneMesh {
  const vertex = 3 * model.mesh_vertadr[id]!;
  const face = 3 * model.mesh_faceadr[id]!;
  const vertices = model.mesh_vert.subarray(vertex, vertex + 3 * model.mesh_vertnum[id]!);
  return {
    vertices: Array.from(vertices, (value) => Number(value.toPrecision(4))),
    faces: Array.from(model.mesh_face.subarray(face, face + 3 * model.mesh_facenum[id]!)),
  };
}

/** The visible geoms of a model. The row of body b of the model in the poses is b − 1: the world does not move. */
export function sceneOf(model: SceneModel): Omit<Scene, 'secondsPerStep'> {
  const meshes: SceneMesh[] = [];
  const places = new Map<number, number>();
  let triangles = 0;
  // A skin is not drawn: the geoms under it, by which the bodies collide, take its place.
  const visible = visibleGroups + (model.nskin > 0 ? 1 : 0);
  const geoms = Array.from({ length: model.ngeom }, (_, i): SceneGeom | undefined => {
    const shape = shapes[model.geom_type[i]!];
    const color = colorOf(model, i);
    if (shape === undefined || model.geom_group[i]! >= visible || color?.[3] === 0) return undefined;
    const geom = {
      shape,
      size: three(model.geom_size, i),
      body: model.geom_bodyid[i]! - 1,
      position: three(model.geom_pos, i),
      rotation: four(model.geom_quat, i),
      ...(color === undefined ? {} : { color }),
    };
    if (shape !== 'mesh') return geom;
    const id = model.geom_dataid[i]!;
    const count = model.mesh_facenum[id]!;
    if (!places.has(id) && triangles + count <= maxTriangles) {
      triangles += count;
      places.set(id, meshes.push(meshOf(model, id)) - 1);
    }
    const mesh = places.get(id);
    if (mesh !== undefined) return { ...geom, mesh };
    const { middle, half } = boxAround(model, id);
    const shift = rotate(geom.rotation, middle);
    const position = geom.position.map((value, k) => rounded(value + shift[k]!)) as Three;
    return { ...geom, shape: 'box', size: half, position };
  });
  return { bodies: model.nbody - 1, geoms: geoms.filter((geom) => geom !== undefined), meshes };
}
