import { rotate, type Vector } from '../core/rotations.js';
import type { Scene, SceneGeom } from '../core/scene.js';
import {
  directionOf,
  fieldOfView,
  placeOf,
  posesAt,
  type SceneCamera,
  targetAt,
  type Viewpoint,
} from './scene-camera.js';

/**
 * A picture of a scene as SVG, for places without WebGL: each geom is the outline of its projection, drawn from far to near. Colors
 * are CSS variables of the page: `--robot`, `--tile`, `--ink` and `--card`. The browser bundles this file.
 */

type Point = readonly [x: number, y: number];

/** The picture's size, in its own units. */
export const pictureSize = { width: 400, height: 300 };

const cross = ([a, b, c]: Vector, [d, e, f]: Vector): Vector => [b * f - c * e, c * d - a * f, a * e - b * d];
const dot = ([a, b, c]: Vector, [d, e, f]: Vector) => a * d + b * e + c * f;
const plus = ([a, b, c]: Vector, [d, e, f]: Vector, times = 1): Vector => [
  a + times * d,
  b + times * e,
  c + times * f,
];
const unit = (v: Vector): Vector => plus([0, 0, 0], v, 1 / (Math.hypot(...v) || 1));

/** The points on a circle, as cosine and sine. */
const circle = Array.from(
  { length: 24 },
  (_, i) => [Math.cos((i * Math.PI) / 12), Math.sin((i * Math.PI) / 12)] as const,
);

/** The view of a camera on its target: its place, its axes, and the projection to the picture. */
function viewOf(camera: Viewpoint, target: Vector) {
  const back = directionOf(camera);
  const right = unit(cross([0, 0, 1], back));
  const up = cross(back, right);
  const eye = plus(target, back, camera.distance);
  const scale = pictureSize.height / 2 / Math.tan(fieldOfView / 2);
  const depth = (point: Vector) => -dot(plus(point, eye, -1), back);
  const project = (point: Vector): Point => {
    const offset = plus(point, eye, -1);
    const away = Math.max(1e-3, -dot(offset, back));
    return [
      pictureSize.width / 2 + (scale * dot(offset, right)) / away,
      pictureSize.height / 2 - (scale * dot(offset, up)) / away,
    ];
  };
  /** The outline of a ball, as the camera sees it. */
  const ball = (middle: Vector, radius: number): Vector[] =>
    circle.map(([c, s]) => plus(plus(middle, right, radius * c), up, radius * s));
  return { depth, project, ball };
}

type View = ReturnType<typeof viewOf>;

/** Points whose hull is the outline of a geom. */
function outline(geom: SceneGeom, scene: Scene, row: Float32Array, { ball }: View): Vector[] {
  const { position, rotation } = placeOf(geom, row);
  const at = (local: Vector) => plus(position, rotate(rotation, local));
  const [a, b, c] = geom.size;
  if (geom.shape === 'sphere') return ball(position, a);
  if (geom.shape === 'capsule') return [...ball(at([0, 0, b]), a), ...ball(at([0, 0, -b]), a)];
  if (geom.shape === 'cylinder')
    return [b, -b].flatMap((z) => circle.map(([cos, sin]) => at([a * cos, a * sin, z])));
  if (geom.shape === 'ellipsoid')
    return [-0.95, -0.8, -0.5, 0, 0.5, 0.8, 0.95].flatMap((z) =>
      circle.map(([cos, sin]) => {
        const ring = Math.sqrt(1 - z * z);
        return at([a * ring * cos, b * ring * sin, c * z]);
      }),
    );
  if (geom.shape === 'box')
    return [0, 1, 2, 3, 4, 5, 6, 7].map((i) => at([i & 1 ? a : -a, i & 2 ? b : -b, i & 4 ? c : -c]));
  const vertices = scene.meshes[geom.mesh ?? -1]?.vertices ?? [];
  return Array.from({ length: vertices.length / 3 }, (_, i) =>
    at([vertices[3 * i]!, vertices[3 * i + 1]!, vertices[3 * i + 2]!]),
  );
}

/** The convex hull of points in the plane (Andrew's monotone chain). */
export function convexHull(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((p, q) => p[0] - q[0] || p[1] - q[1]);
  const turns = (o: Point, p: Point, q: Point) =>
    (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0]);
  const half = (of: readonly Point[]) => {
    const chain: Point[] = [];
    for (const point of of) {
      while (chain.length > 1 && turns(chain.at(-2)!, chain.at(-1)!, point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  };
  return sorted.length < 3 ? sorted : [...half(sorted), ...half(sorted.reverse())];
}

const polygon = (points: readonly Point[]) =>
  `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L')}Z`;

/** The lines of the floor around a point, a meter or a power of ten of it apart. */
function floorLines(target: Vector, height: number, distance: number, { depth, project }: View): string {
  const cell = 10 ** Math.round(Math.log10(distance / 4));
  const reach = 12;
  const lines: string[] = [];
  for (let i = -reach; i <= reach; i++) {
    for (const along of [0, 1] as const) {
      const middle = [0, 1].map(
        (axis) => (Math.round(target[axis]! / cell) + (axis === along ? 0 : i)) * cell,
      );
      const ends = [-reach, reach].map((end): Vector => {
        const [x, y] = middle.map((value, axis) => (axis === along ? value + end * cell : value));
        return [x!, y!, height];
      });
      // Both ends are drawn toward the middle until they are in front of the camera.
      const center: Vector = [middle[0]!, middle[1]!, height];
      if (depth(center) < 0.1 * distance) continue;
      const [from, to] = ends.map((end) => {
        const [d, m] = [depth(end), depth(center)];
        const share = d < 0.1 * distance ? (m - 0.1 * distance) / (m - d) : 1;
        return project(plus(center, plus(end, center, -1), share));
      });
      lines.push(`M${from!.map((v) => v.toFixed(1)).join(' ')}L${to!.map((v) => v.toFixed(1)).join(' ')}`);
    }
  }
  return `<path d="${lines.join('')}" fill="none" stroke="var(--tile)" stroke-width=".7"/>`;
}

const css = ([r, g, b, a]: readonly [number, number, number, number]) =>
  `rgb(${[r, g, b].map((value) => Math.round(255 * value)).join(' ')} / ${Number(a.toFixed(3))})`;

/**
 * Draws the inside of an SVG of `pictureSize` at a moment of an episode, which may lie between two recorded ones.
 * @param poses [F, B, 7]
 */
export function scenePicture(scene: Scene, poses: Float32Array, camera: SceneCamera, moment: number): string {
  return posePicture(scene, posesAt(poses, scene.bodies, moment), camera, targetAt(camera, moment));
}

/** Draws the inside of an SVG of `pictureSize` with the bodies in these poses, [B, 7]. @param target the point looked at */
export function posePicture(scene: Scene, row: Float32Array, camera: Viewpoint, target: Vector): string {
  const view = viewOf(camera, target);
  const solids = scene.geoms
    .filter(({ shape }) => shape !== 'plane')
    .map((geom) => {
      const points = outline(geom, scene, row, view);
      return { geom, points, away: view.depth(placeOf(geom, row).position) };
    })
    .filter(({ away, points }) => away > 0 && points.length > 0)
    .sort((a, b) => b.away - a.away);
  const { floor } = camera;
  const shadows =
    floor === undefined
      ? ''
      : solids
          .map(({ points }) => polygon(convexHull(points.map(([x, y]) => view.project([x, y, floor])))))
          .join('');
  const drawn = solids.map(
    ({ geom: { color }, points }) =>
      `<path d="${polygon(convexHull(points.map(view.project)))}" fill="${color === undefined ? 'var(--robot)' : css(color)}"/>`,
  );
  return [
    floor === undefined ? '' : floorLines(target, floor, camera.distance, view),
    shadows === '' ? '' : `<path d="${shadows}" fill="var(--ink)" opacity=".1"/>`,
    `<g stroke="var(--card)" stroke-width=".8" stroke-linejoin="round">${drawn.join('')}</g>`,
  ].join('');
}
