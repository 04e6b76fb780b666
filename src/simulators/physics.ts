import type { MainModule, MjData, MjModel } from '@mujoco/mujoco';
import { PmpoError } from '../core/errors.js';
import type { Vector } from '../core/rotations.js';
import { poseSize, type Scene } from '../core/scene.js';
import { type SceneModel, sceneOf } from './scene.js';

/** Discards MuJoCo's messages: the important ones also arrive as exceptions or through `Physics.step`. */
const silent = () => {};

let loading: Promise<MainModule> | undefined;

/** The WebAssembly build of MuJoCo, loaded once per thread and only when it is first needed. */
function loadMujoco(): Promise<MainModule> {
  loading ??= import('@mujoco/mujoco').then(({ default: load }) => load({ print: silent, printErr: silent }));
  return loading;
}

/** The version of the embedded MuJoCo, such as `3.14.0`. */
export async function mujocoVersion(): Promise<string> {
  return (await loadMujoco()).mj_versionString();
}

/** The arrays of mjData that tasks read or write, by MuJoCo's names. */
const dataViews = [
  'qpos',
  'qvel',
  'ctrl',
  'sensordata',
  'xpos',
  'xquat',
  'xmat',
  'geom_xpos',
  'site_xpos',
  'subtree_com',
  'xipos',
  'xfrc_applied',
] as const;
type DataView = (typeof dataViews)[number];

/** The kinds of joints, in the order of mjtJoint. */
const jointKinds = ['free', 'ball', 'slide', 'hinge'] as const;

/** The place of a joint in the arrays. */
export interface JointAddress {
  /** Hinges and slides have one position and one velocity; a free joint has seven and six, a ball four and three. */
  readonly kind: 'free' | 'ball' | 'slide' | 'hinge';
  /** The index of its first element in `qpos`. */
  readonly position: number;
  /** The index of its first element in `qvel`. */
  readonly velocity: number;
  /** [lower, upper], in radians or meters; undefined if the joint has no limits. */
  readonly range: readonly [number, number] | undefined;
}

/** The place of a sensor in the arrays. */
export interface SensorAddress {
  /** The index of its first element in `sensordata`. */
  readonly start: number;
  readonly size: number;
}

type Kind = 'body' | 'joint' | 'geom' | 'site' | 'sensor' | 'actuator';

/**
 * A MuJoCo model with its state. The arrays (`qpos`, `xmat`, …) are views of MuJoCo's memory, in its layout. Read them through
 * the property each time and do not keep them, because loading another model may move that memory.
 * Shapes: nq positions, nv velocities, nu controls.
 */
export class Physics {
  readonly #mujoco: MainModule;
  readonly #model: MjModel;
  readonly #data: MjData;
  readonly #views = new Map<DataView, Float64Array>();
  readonly #rungeKutta: boolean;
  #closed = false;

  readonly timestep: number;
  readonly nq: number;
  readonly nv: number;
  readonly nu: number;

  private constructor(mujoco: MainModule, model: MjModel, data: MjData) {
    this.#mujoco = mujoco;
    this.#model = model;
    this.#data = data;
    this.timestep = model.opt.timestep;
    this.#rungeKutta = model.opt.integrator === mujoco.mjtIntegrator.mjINT_RK4.value;
    this.nq = model.nq;
    this.nv = model.nv;
    this.nu = model.nu;
  }

  /**
   * Compiles a model written in MJCF.
   * @throws PmpoError with MuJoCo's message for an invalid model.
   */
  static async load(mjcf: string): Promise<Physics> {
    const mujoco = await loadMujoco();
    let model: MjModel | undefined;
    try {
      model = mujoco.MjModel.from_xml_string(mjcf);
      return new Physics(mujoco, model, new mujoco.MjData(model));
    } catch (cause) {
      model?.delete();
      throw new PmpoError({ what: (cause as Error).message.trim(), where: 'MuJoCo model', cause });
    }
  }

  /** A view of an array. When the WebAssembly memory grows, it detaches all earlier views, whose length is then 0. */
  #view(name: DataView): Float64Array {
    let view = this.#views.get(name);
    if (view === undefined || view.length === 0) {
      view = this.#data[name] as Float64Array;
      this.#views.set(name, view);
    }
    return view;
  }

  /** Generalized positions [nq]. */
  get qpos(): Float64Array {
    return this.#view('qpos');
  }

  /** Generalized velocities [nv]. */
  get qvel(): Float64Array {
    return this.#view('qvel');
  }

  /** Controls [nu]. */
  get ctrl(): Float64Array {
    return this.#view('ctrl');
  }

  /** The values of all sensors; `sensor(name)` gives the place of each. */
  get sensordata(): Float64Array {
    return this.#view('sensordata');
  }

  /** Positions of body frames [nbody, 3], in meters. */
  get xpos(): Float64Array {
    return this.#view('xpos');
  }

  /** Orientations of body frames [nbody, 9], row-major: element 3r + c is component r of body axis c in the world. */
  get xmat(): Float64Array {
    return this.#view('xmat');
  }

  /** Positions of geoms [ngeom, 3], in meters. */
  get geomPositions(): Float64Array {
    return this.#view('geom_xpos');
  }

  /** Positions of sites [nsite, 3], in meters. */
  get sitePositions(): Float64Array {
    return this.#view('site_xpos');
  }

  /** Centers of mass of each body with its descendants [nbody, 3], in meters. */
  get subtreeCenters(): Float64Array {
    return this.#view('subtree_com');
  }

  /** Seconds since the reset. */
  get time(): number {
    return this.#data.time;
  }

  /** The geoms of the model, for drawing. */
  scene(): Omit<Scene, 'secondsPerStep'> {
    // This build cannot give the arrays as one object, because each is a view of its memory.
    return sceneOf(this.#model as MjModel & SceneModel);
  }

  /** The poses of all bodies but the world, [nbody − 1, 7]: positions and quaternions. */
  bodyPoses(): Float32Array {
    const [positions, rotations] = [this.#view('xpos'), this.#view('xquat')];
    const poses = new Float32Array((positions.length / 3 - 1) * poseSize);
    for (let body = 1; body < positions.length / 3; body++) {
      poses.set(positions.subarray(3 * body, 3 * body + 3), (body - 1) * poseSize);
      poses.set(rotations.subarray(4 * body, 4 * body + 4), (body - 1) * poseSize + 3);
    }
    return poses;
  }

  /** The number of contacts between geoms. */
  get contacts(): number {
    return this.#data.ncon;
  }

  /** The deepest overlap of two geoms in meters, 0 if none overlap. Slow: meant for placing bodies, not for stepping. */
  penetration(): number {
    const contacts = this.#data.contact;
    let deepest = 0;
    for (let i = 0; i < contacts.size(); i++) {
      const contact = contacts.get(i);
      if (contact === undefined) continue;
      deepest = Math.max(deepest, -contact.dist);
      contact.delete();
    }
    contacts.delete();
    return deepest;
  }

  #id(kind: Kind, name: string): number {
    const { mjtObj } = this.#mujoco;
    const type = {
      body: mjtObj.mjOBJ_BODY,
      joint: mjtObj.mjOBJ_JOINT,
      geom: mjtObj.mjOBJ_GEOM,
      site: mjtObj.mjOBJ_SITE,
      sensor: mjtObj.mjOBJ_SENSOR,
      actuator: mjtObj.mjOBJ_ACTUATOR,
    }[kind].value;
    const id = this.#mujoco.mj_name2id(this.#model, type, name);
    if (id < 0) throw new PmpoError({ what: `unknown ${kind} '${name}'`, where: 'MuJoCo model' });
    return id;
  }

  /** The row of a body in `xpos`, `xmat`, `subtreeCenters`. @throws PmpoError for an unknown name. */
  body(name: string): number {
    return this.#id('body', name);
  }

  /** The row of a geom in `geomPositions`. @throws PmpoError for an unknown name. */
  geom(name: string): number {
    return this.#id('geom', name);
  }

  /** The row of a site in `sitePositions`. @throws PmpoError for an unknown name. */
  site(name: string): number {
    return this.#id('site', name);
  }

  /** The place of a joint in the arrays. @throws PmpoError for an unknown name. */
  joint(name: string): JointAddress {
    return this.#jointAddress(this.#id('joint', name));
  }

  #jointAddress(id: number): JointAddress {
    const model = this.#model;
    // This build cannot read `jnt_limited`. The range gives the same information, unless a model sets `limited="false"` beside a range.
    const [lower, upper] = (model.jnt_range as Float64Array).subarray(2 * id);
    return {
      kind: jointKinds[model.jnt_type[id] as number],
      position: model.jnt_qposadr[id],
      velocity: model.jnt_dofadr[id],
      range: lower < upper ? [lower, upper] : undefined,
    };
  }

  /** The joints with one position and one velocity (hinges and slides), in the model's order. */
  scalarJoints(): JointAddress[] {
    const joints = Array.from({ length: this.#model.njnt }, (_, id) => this.#jointAddress(id));
    return joints.filter(({ kind }) => kind === 'hinge' || kind === 'slide');
  }

  /** The place of a sensor in the arrays. @throws PmpoError for an unknown name. */
  sensor(name: string): SensorAddress {
    const id = this.#id('sensor', name);
    return { start: this.#model.sensor_adr[id], size: this.#model.sensor_dim[id] };
  }

  /** Bounds of the controls, [nu] each. */
  controlRange(): { minimum: number[]; maximum: number[] } {
    const range = this.#model.actuator_ctrlrange as Float64Array;
    const rows = Array.from({ length: this.nu }, (_, i) => i);
    return { minimum: rows.map((i) => range[2 * i]), maximum: rows.map((i) => range[2 * i + 1]) };
  }

  /** Moves a body, such as a target, within its parent's frame (meters). Call `forward` afterwards. */
  placeBody(name: string, position: readonly [number, number, number]): void {
    this.#model.body_pos.set(position, 3 * this.body(name));
  }

  /** The mass of all bodies together, in kg. */
  get mass(): number {
    return (this.#model.body_mass as Float64Array).reduce((sum, mass) => sum + mass, 0);
  }

  /**
   * Pushes a body from outside until it is pushed otherwise or the next reset: a constant force at a point that is fixed in the world.
   * @param body its row in `xpos`
   * @param force in newtons, along the world's axes; zero to let go
   * @param point in the world, in meters
   */
  push(body: number, force: Vector, point: Vector): void {
    // MuJoCo applies a force at the body's center of mass. At another point it also has a torque around that center.
    const center = this.#view('xipos').subarray(3 * body, 3 * body + 3);
    const [x, y, z] = point.map((value, axis) => value - center[axis]!) as [number, number, number];
    const [fx, fy, fz] = force;
    const torque = [y * fz - z * fy, z * fx - x * fz, x * fy - y * fx];
    this.#view('xfrc_applied').set([...force, ...torque], 6 * body);
  }

  /** Returns to the model's initial state, at time 0. */
  reset(): void {
    this.#mujoco.mj_resetData(this.#model, this.#data);
  }

  /** Clears the forces from which the solver would start its next search, as `reset` does. */
  forgetForces(): void {
    (this.#data.qacc_warmstart as Float64Array).fill(0);
  }

  /** Computes all quantities that depend on the current `qpos`, `qvel` and `ctrl`. */
  forward(): void {
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /**
   * Advances by `substeps` timesteps with the current controls. Afterwards positions, sensors of position and velocity, and all
   * other quantities that depend on the state alone are those of the *new* state.
   *
   * @throws PmpoError if the simulation becomes unstable, that is, if MuJoCo finds a huge number or one that is not finite.
   */
  step(substeps: number): void {
    const mujoco = this.#mujoco;
    const before = this.#data.time;
    // With the Euler and implicit integrators, the two halves of a step can be called separately: the second half now, for the
    // new controls, and the first half of the next step at the end, for fresh readings. Together they cost one step.
    let whole = substeps;
    if (!this.#rungeKutta) {
      mujoco.mj_step2(this.#model, this.#data);
      whole--;
    }
    for (let i = 0; i < whole; i++) mujoco.mj_step(this.#model, this.#data);
    mujoco.mj_step1(this.#model, this.#data);
    // When a simulation diverges, MuJoCo resets the state, including its clock.
    if (!(this.#data.time > before + (substeps - 0.5) * this.timestep)) {
      throw new PmpoError({ what: `the simulation diverged at ${before.toFixed(3)} s`, where: 'MuJoCo' });
    }
  }

  /** Frees the memory. The object cannot be used afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#views.clear();
    this.#data.delete();
    this.#model.delete();
  }
}
