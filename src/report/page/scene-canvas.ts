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
  Line,
  LineBasicMaterial,
  LineSegments,
  Mesh,
  MeshBasicMaterial,
  MeshLambertMaterial,
  Object3D,
  PCFShadowMap,
  PerspectiveCamera,
  Plane,
  PlaneGeometry,
  Quaternion,
  Raycaster,
  SphereGeometry,
  Scene as ThreeScene,
  Vector2,
  Vector3,
  WebGLRenderer,
} from 'three';
import type { Vector } from '../../core/rotations.js';
import { poseSize, type Scene, type SceneGeom } from '../../core/scene.js';
import { directionOf, fieldOfView, type Viewpoint } from '../scene-camera.js';

/** Draws a scene with WebGL: the bodies in any poses, and what a person points at. */

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
    if (!(object instanceof Mesh || object instanceof Line)) return;
    object.geometry.dispose();
    object.material.dispose();
  });
}

/** A point of a body that a person points at. */
export interface PickedPoint {
  /** The body's row in the poses. */
  readonly body: number;
  /** In the world, in meters. */
  readonly point: Vector;
}

/** The lights: the sky's, and a sun that casts shadows around the target. */
function addLights(world: ThreeScene, distance: number): DirectionalLight {
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
  return sun;
}

/** A scene on a canvas. */
export class SceneCanvas {
  readonly #stage: HTMLElement;
  readonly #renderer: WebGLRenderer;
  readonly #distance: number;
  readonly #floor: number | undefined;
  readonly #world = new ThreeScene();
  readonly #eye: PerspectiveCamera;
  readonly #away: Vector3;
  readonly #sun: DirectionalLight;
  readonly #robot = new MeshLambertMaterial();
  readonly #ground = new MeshLambertMaterial();
  readonly #lines = new LineBasicMaterial();
  readonly #bodies: readonly Object3D[];
  readonly #plane: Mesh;
  readonly #grid: LineSegments;
  readonly #cell: number;
  readonly #turn = new Quaternion();
  /** A line from a point of a body to where it is pulled, and a ball at its end. */
  readonly #pull: readonly [Line<BufferGeometry, LineBasicMaterial>, Mesh<SphereGeometry, MeshBasicMaterial>];

  private constructor(stage: HTMLElement, renderer: WebGLRenderer, scene: Scene, camera: Viewpoint) {
    const { distance, floor } = camera;
    this.#stage = stage;
    this.#renderer = renderer;
    this.#distance = distance;
    this.#floor = floor;
    this.#eye = new PerspectiveCamera((fieldOfView * 180) / Math.PI, 4 / 3, distance / 50, distance * 12);
    this.#eye.up.set(0, 0, 1);
    this.#away = new Vector3(...directionOf(camera)).multiplyScalar(distance);
    this.#sun = addLights(this.#world, distance);
    this.#bodies = addGeoms(this.#world, scene, this.#robot);
    this.#cell = 10 ** Math.round(Math.log10(distance / 4));
    this.#grid = floorGrid(this.#cell, this.#lines);
    this.#plane = new Mesh(new CircleGeometry(distance * 10, 64), this.#ground);
    this.#plane.receiveShadow = true;
    if (floor !== undefined) this.#world.add(this.#plane, this.#grid);
    const line = new Line(
      new BufferGeometry().setAttribute('position', new Float32BufferAttribute(new Float32Array(6), 3)),
      new LineBasicMaterial({ depthTest: false }),
    );
    const ball = new Mesh(
      new SphereGeometry(0.012 * distance, 16, 12),
      new MeshBasicMaterial({ depthTest: false }),
    );
    line.frustumCulled = false;
    for (const part of [line, ball]) {
      part.visible = false;
      part.renderOrder = 1;
      this.#world.add(part);
    }
    this.#pull = [line, ball];
    this.refresh();
  }

  /** Puts a canvas for a scene into an element; undefined where the browser has no WebGL. @param label what it shows, for screen readers */
  static create(stage: HTMLElement, scene: Scene, camera: Viewpoint, label: string): SceneCanvas | undefined {
    const canvas = document.createElement('canvas');
    let renderer: WebGLRenderer;
    try {
      renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    } catch {
      return undefined;
    }
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', label);
    stage.replaceChildren(canvas);
    stage.dataset.drawn = 'webgl';
    renderer.shadowMap.enabled = true;
    renderer.shadowMap.type = PCFShadowMap;
    return new SceneCanvas(stage, renderer, scene, camera);
  }

  /** Draws the bodies in these poses, [B, 7]. @param target the point looked at */
  draw(poses: Float32Array, target: Vector): void {
    for (const [i, body] of this.#bodies.entries()) {
      const at = i * poseSize;
      body.position.set(poses[at] ?? 0, poses[at + 1] ?? 0, poses[at + 2] ?? 0);
      this.#turn.set(poses[at + 4] ?? 0, poses[at + 5] ?? 0, poses[at + 6] ?? 0, poses[at + 3] ?? 1);
      body.quaternion.copy(this.#turn);
    }
    const [x, y] = target;
    const sun = this.#sun;
    this.#eye.position.set(...target).add(this.#away);
    this.#eye.lookAt(...target);
    sun.target.position.set(...target);
    sun.position.set(...target).add(new Vector3(0.5, -0.9, 1.7).multiplyScalar(this.#distance));
    if (this.#floor !== undefined) {
      const cell = this.#cell;
      this.#plane.position.set(x, y, this.#floor - 0.002 * this.#distance);
      this.#grid.position.set(Math.round(x / cell) * cell, Math.round(y / cell) * cell, this.#floor);
    }
    this.#renderer.render(this.#world, this.#eye);
  }

  /** A ray from the eye through a point of the window. */
  #rayThrough(clientX: number, clientY: number): Raycaster {
    const { left, top, width, height } = this.#renderer.domElement.getBoundingClientRect();
    const ray = new Raycaster();
    const point = new Vector2((2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height);
    ray.setFromCamera(point, this.#eye);
    return ray;
  }

  /** The point of a moving body that was last drawn at a point of the window; undefined if there is none. */
  pick(clientX: number, clientY: number): PickedPoint | undefined {
    const [hit] = this.#rayThrough(clientX, clientY).intersectObjects([...this.#bodies], true);
    if (hit === undefined) return undefined;
    const body = this.#bodies.indexOf(hit.object.parent as Object3D);
    return { body, point: hit.point.toArray() };
  }

  /** The point in the world at a point of the window, as far away as `depth` is. */
  pointAt(clientX: number, clientY: number, depth: Vector): Vector {
    const facing = new Plane().setFromNormalAndCoplanarPoint(
      this.#eye.getWorldDirection(new Vector3()),
      new Vector3(...depth),
    );
    const found = this.#rayThrough(clientX, clientY).ray.intersectPlane(facing, new Vector3());
    return found?.toArray() ?? depth;
  }

  /** Shows where a body is pulled from and to, from the next drawing on; nothing if undefined. */
  showPull(pull: { readonly from: Vector; readonly to: Vector } | undefined): void {
    const [line, ball] = this.#pull;
    line.visible = pull !== undefined;
    ball.visible = pull !== undefined;
    if (pull === undefined) return;
    const ends = line.geometry.getAttribute('position');
    ends.setXYZ(0, ...pull.from);
    ends.setXYZ(1, ...pull.to);
    ends.needsUpdate = true;
    ball.position.set(...pull.to);
  }

  /** The colors or the size may have changed. */
  refresh(): void {
    this.#robot.color = cssColor('--robot');
    this.#ground.color = cssColor('--floor');
    for (const part of this.#pull) part.material.color = cssColor('--series-1');
    const back = cssColor('--card');
    this.#world.fog =
      this.#floor === undefined ? null : new Fog(back, this.#distance * 1.6, this.#distance * 6);
    if (this.#floor !== undefined) {
      this.#renderer.setClearColor(back, 1);
      this.#lines.color = cssColor('--tile');
    } else this.#renderer.setClearColor(0, 0);
    const { clientWidth, clientHeight } = this.#stage;
    if (clientWidth === 0) return;
    this.#renderer.setPixelRatio(Math.min(2, devicePixelRatio));
    this.#renderer.setSize(clientWidth, clientHeight, false);
    this.#eye.aspect = clientWidth / clientHeight;
    this.#eye.updateProjectionMatrix();
  }

  dispose(): void {
    disposeAll(this.#world);
    this.#renderer.dispose();
    // A browser keeps only some contexts at once, and a canvas that is gone holds its own for a while.
    this.#renderer.forceContextLoss();
  }
}
