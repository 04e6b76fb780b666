import {
  BoxGeometry,
  BufferGeometry,
  CapsuleGeometry,
  CircleGeometry,
  Color,
  CylinderGeometry,
  DirectionalLight,
  Float32BufferAttribute,
  Fog,
  HemisphereLight,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  MeshLambertMaterial,
  Object3D,
  PCFShadowMap,
  PerspectiveCamera,
  PlaneGeometry,
  Quaternion,
  SphereGeometry,
  Scene as ThreeScene,
  Vector3,
  WebGLRenderer,
} from 'three';
import { poseSize, type Scene, type SceneGeom } from '../../core/scene.js';
import { directionOf, fieldOfView, posesAt, type SceneCamera } from '../scene-camera.js';
import type { SceneViewFactory } from './player.js';

/** Draws a scene with WebGL. */

const cssColor = (name: string) =>
  new Color(getComputedStyle(document.documentElement).getPropertyValue(name).trim());

/** The shape of a geom, in its own frame. MuJoCo's axes of capsules and cylinders are z, three.js's y. */
function geometryOf({ shape, size: [a, b, c], mesh }: SceneGeom, { meshes }: Scene): BufferGeometry {
  if (shape === 'sphere') return new SphereGeometry(a, 32, 20);
  if (shape === 'capsule') return new CapsuleGeometry(a, 2 * b, 10, 24).rotateX(Math.PI / 2);
  if (shape === 'cylinder') return new CylinderGeometry(a, a, 2 * b, 36).rotateX(Math.PI / 2);
  if (shape === 'ellipsoid') return new SphereGeometry(1, 32, 20).scale(a, b, c);
  if (shape === 'box') return new BoxGeometry(2 * a, 2 * b, 2 * c);
  if (shape === 'plane') return new PlaneGeometry(2 * (a || 1), 2 * (b || 1));
  const geometry = new BufferGeometry();
  const { vertices = [], faces = [] } = meshes[mesh ?? -1] ?? {};
  geometry.setAttribute('position', new Float32BufferAttribute(vertices, 3));
  geometry.setIndex(faces);
  const flat = geometry.toNonIndexed();
  flat.computeVertexNormals();
  return flat;
}

/** Adds the geoms of a scene. Those without a color of their own get `material`. @returns the group of each body. */
function addGeoms(into: Object3D, scene: Scene, material: MeshLambertMaterial): Object3D[] {
  const bodies = Array.from({ length: scene.bodies }, () => new Object3D());
  for (const body of bodies) into.add(body);
  for (const geom of scene.geoms) {
    // The floor is drawn apart.
    if (geom.shape === 'plane' && geom.body < 0 && Math.abs(geom.rotation[0]) > 0.99) continue;
    const { color } = geom;
    const own =
      color === undefined
        ? material
        : new MeshLambertMaterial({
            color: new Color().setRGB(color[0], color[1], color[2], 'srgb'),
            transparent: color[3] < 1,
            opacity: color[3],
          });
    const mesh = new Mesh(geometryOf(geom, scene), own);
    mesh.position.set(...geom.position);
    const [w, x, y, z] = geom.rotation;
    mesh.quaternion.set(x, y, z, w);
    mesh.castShadow = true;
    mesh.receiveShadow = true;
    (bodies[geom.body] ?? into).add(mesh);
  }
  return bodies;
}

/** The lines of the floor, in pieces of a cell: some drivers drop lines that go on behind the camera. */
function floorGrid(cell: number, material: LineBasicMaterial): LineSegments {
  const reach = 24;
  const points: number[] = [];
  for (let i = -reach; i <= reach; i++)
    for (let j = -reach; j < reach; j++) {
      points.push(i * cell, j * cell, 0, i * cell, (j + 1) * cell, 0);
      points.push(j * cell, i * cell, 0, (j + 1) * cell, i * cell, 0);
    }
  const geometry = new BufferGeometry().setAttribute('position', new Float32BufferAttribute(points, 3));
  return new LineSegments(geometry, material);
}

/** Frees what a scene holds on the graphics card. */
function disposeAll(root: Object3D): void {
  root.traverse((object) => {
    if (!(object instanceof Mesh || object instanceof LineSegments)) return;
    object.geometry.dispose();
    object.material.dispose();
  });
}

/** The view of a scene with WebGL; undefined where there is none. */
export const sceneView: SceneViewFactory = (stage, { scene }, poses, camera: SceneCamera) => {
  if (scene === undefined) return undefined;
  let renderer: WebGLRenderer;
  const canvas = document.createElement('canvas');
  try {
    renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  } catch {
    return undefined;
  }
  const picture = stage.querySelector('svg');
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', picture?.getAttribute('aria-label') ?? 'The simulated bodies');
  stage.replaceChildren(canvas);
  stage.dataset.drawn = 'webgl';
  renderer.shadowMap.enabled = true;
  renderer.shadowMap.type = PCFShadowMap;

  const { distance, floor } = camera;
  const world = new ThreeScene();
  const eye = new PerspectiveCamera((fieldOfView * 180) / Math.PI, 4 / 3, distance / 50, distance * 12);
  eye.up.set(0, 0, 1);
  const sky = new HemisphereLight(0xffffff, 0x8f8f8f, 1.9);
  sky.position.set(0, 0, 1);
  const sun = new DirectionalLight(0xffffff, 1.7);
  sun.castShadow = true;
  sun.shadow.mapSize.set(1024, 1024);
  sun.shadow.radius = 4;
  sun.shadow.bias = -0.0005;
  sun.shadow.normalBias = 0.01 * distance;
  const span = 0.5 * distance;
  Object.assign(sun.shadow.camera, {
    left: -span,
    right: span,
    top: span,
    bottom: -span,
    near: 0.1,
    far: 6 * distance,
  });
  world.add(sky, sun, sun.target);
  const robot = new MeshLambertMaterial();
  const bodies = addGeoms(world, scene, robot);

  const ground = new MeshLambertMaterial();
  const cell = 10 ** Math.round(Math.log10(distance / 4));
  const lines = new LineBasicMaterial();
  const grid = floorGrid(cell, lines);
  const plane = new Mesh(new CircleGeometry(distance * 10, 64), ground);
  plane.receiveShadow = true;
  if (floor !== undefined) world.add(plane, grid);

  const paint = () => {
    robot.color = cssColor('--robot');
    ground.color = cssColor('--floor');
    const back = cssColor('--card');
    world.fog = floor === undefined ? null : new Fog(back, distance * 1.6, distance * 6);
    if (floor !== undefined) {
      renderer.setClearColor(back, 1);
      lines.color = cssColor('--tile');
    } else renderer.setClearColor(0, 0);
    const { clientWidth, clientHeight } = stage;
    if (clientWidth === 0) return;
    renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    renderer.setSize(clientWidth, clientHeight, false);
    eye.aspect = clientWidth / clientHeight;
    eye.updateProjectionMatrix();
  };
  paint();

  const away = new Vector3(...directionOf(camera)).multiplyScalar(distance);
  const target = new Vector3();
  const turn = new Quaternion();
  return {
    show(moment) {
      const row = posesAt(poses, scene.bodies, moment);
      for (const [i, body] of bodies.entries()) {
        const at = i * poseSize;
        body.position.set(row[at] ?? 0, row[at + 1] ?? 0, row[at + 2] ?? 0);
        turn.set(row[at + 4] ?? 0, row[at + 5] ?? 0, row[at + 6] ?? 0, row[at + 3] ?? 1);
        body.quaternion.copy(turn);
      }
      const last = camera.targets.length / 3 - 1;
      const from = Math.max(0, Math.min(last, Math.floor(moment)));
      const to = Math.min(last, from + 1);
      const share = Math.max(0, Math.min(1, moment - from));
      const along = (axis: number) => {
        const [a, b] = [camera.targets[3 * from + axis] ?? 0, camera.targets[3 * to + axis] ?? 0];
        return a + share * (b - a);
      };
      target.set(along(0), along(1), along(2));
      eye.position.copy(target).add(away);
      eye.lookAt(target);
      sun.target.position.copy(target);
      sun.position.copy(target).add(new Vector3(0.5, -0.9, 1.7).multiplyScalar(distance));
      if (floor !== undefined) {
        plane.position.set(target.x, target.y, floor - 0.002 * distance);
        grid.position.set(Math.round(target.x / cell) * cell, Math.round(target.y / cell) * cell, floor);
      }
      renderer.render(world, eye);
    },
    refresh: paint,
    dispose() {
      disposeAll(world);
      renderer.dispose();
      // A browser keeps only some contexts at once, and a canvas that is gone holds its own for a while.
      renderer.forceContextLoss();
    },
  };
};
