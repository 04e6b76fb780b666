import type { MainModule, MjData, MjModel } from '@mujoco/mujoco';
import { PmpoError } from '../core/errors.js';

/** MuJoCo's own messages go nowhere: what matters in them comes back as exceptions or through `Physics.step`. */
const silent = () => {};

let loading: Promise<MainModule> | undefined;

/** The WebAssembly build of MuJoCo, loaded once per thread and only when a world is first made. */
function loadMujoco(): Promise<MainModule> {
  loading ??= import('@mujoco/mujoco').then(({ default: load }) => load({ print: silent, printErr: silent }));
  return loading;
}

/** The version of the embedded MuJoCo, such as `3.14.0`. */
export async function mujocoVersion(): Promise<string> {
  return (await loadMujoco()).mj_versionString();
}

/** Arrays of mjData that tasks read or write; MuJoCo's names. */
const dataViews = [
  'qpos',
  'qvel',
  'ctrl',
  'sensordata',
  'xpos',
  'xmat',
  'geom_xpos',
  'site_xpos',
  'subtree_com',
] as const;
type DataView = (typeof dataViews)[number];

/** In the order of mjtJoint. */
const jointKinds = ['free', 'ball', 'slide', 'hinge'] as const;

export interface JointAddress {
  /** Hinges and slides have one position and one velocity; a free joint has seven and six, a ball four and three. */
  readonly kind: 'free' | 'ball' | 'slide' | 'hinge';
  /** First element in `qpos`. */
  readonly position: number;
  /** First element in `qvel`. */
  readonly velocity: number;
  /** [lower, upper], in radians or metres; undefined when the joint has no limit. */
  readonly range: readonly [number, number] | undefined;
}

export interface SensorAddress {
  /** First element in `sensordata`. */
  readonly start: number;
  readonly size: number;
}

type Kind = 'body' | 'joint' | 'geom' | 'site' | 'sensor' | 'actuator';

/**
 * One MuJoCo model with its state. The arrays (`qpos`, `xmat`, …) are live views of MuJoCo's memory, in its layout:
 * read them through the property each time, never keep them, for making another world may move that memory.
 *
 * Lengths: nq positions, nv velocities, nu controls.
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
   * @throws PmpoError with MuJoCo's own words when the model is wrong.
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

  /** A growing WebAssembly memory detaches every view made before; a detached view has length 0. */
  #view(name: DataView): Float64Array {
    let view = this.#views.get(name);
    if (view === undefined || view.length === 0) {
      view = this.#data[name] as Float64Array;
      this.#views.set(name, view);
    }
    return view;
  }

  /** Generalised positions [nq]. */
  get qpos(): Float64Array {
    return this.#view('qpos');
  }

  /** Generalised velocities [nv]. */
  get qvel(): Float64Array {
    return this.#view('qvel');
  }

  /** Controls [nu]. */
  get ctrl(): Float64Array {
    return this.#view('ctrl');
  }

  /** All sensors' values, addressed by `sensor(name)`. */
  get sensordata(): Float64Array {
    return this.#view('sensordata');
  }

  /** Positions of body frames [nbody, 3], in metres. */
  get xpos(): Float64Array {
    return this.#view('xpos');
  }

  /** Orientations of body frames [nbody, 9], row-major: element 3r + c is component r of body axis c in the world. */
  get xmat(): Float64Array {
    return this.#view('xmat');
  }

  /** Positions of geoms [ngeom, 3], in metres. */
  get geomPositions(): Float64Array {
    return this.#view('geom_xpos');
  }

  /** Positions of sites [nsite, 3], in metres. */
  get sitePositions(): Float64Array {
    return this.#view('site_xpos');
  }

  /** Centres of mass of each body with all that hangs on it [nbody, 3], in metres. */
  get subtreeCentres(): Float64Array {
    return this.#view('subtree_com');
  }

  /** Seconds since the reset. */
  get time(): number {
    return this.#data.time;
  }

  /** Geoms that overlap or touch now. */
  get contacts(): number {
    return this.#data.ncon;
  }

  /** The deepest overlap of two geoms in metres, 0 when none overlap. Slow: for placing things, not for stepping. */
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
    if (id < 0) throw new PmpoError({ what: `there is no ${kind} '${name}'`, where: 'MuJoCo model' });
    return id;
  }

  /** The row of a body in `xpos`, `xmat`, `subtreeCentres`. @throws PmpoError when there is none. */
  body(name: string): number {
    return this.#id('body', name);
  }

  /** The row of a geom in `geomPositions`. @throws PmpoError when there is none. */
  geom(name: string): number {
    return this.#id('geom', name);
  }

  /** The row of a site in `sitePositions`. @throws PmpoError when there is none. */
  site(name: string): number {
    return this.#id('site', name);
  }

  /** Where a joint's numbers are. @throws PmpoError when there is none. */
  joint(name: string): JointAddress {
    return this.#jointAddress(this.#id('joint', name));
  }

  #jointAddress(id: number): JointAddress {
    const model = this.#model;
    // `jnt_limited` cannot be read in this build; in a model without `limited="false"` beside a range it says the same.
    const [lower, upper] = (model.jnt_range as Float64Array).subarray(2 * id);
    return {
      kind: jointKinds[model.jnt_type[id] as number],
      position: model.jnt_qposadr[id],
      velocity: model.jnt_dofadr[id],
      range: lower < upper ? [lower, upper] : undefined,
    };
  }

  /** Every hinge and slide joint, in the model's order: what has one position and one velocity. */
  scalarJoints(): JointAddress[] {
    const joints = Array.from({ length: this.#model.njnt }, (_, id) => this.#jointAddress(id));
    return joints.filter(({ kind }) => kind === 'hinge' || kind === 'slide');
  }

  /** Where a sensor's numbers are. @throws PmpoError when there is none. */
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

  /** Moves a body within its parent's frame (metres): for targets. Call `forward` afterwards. */
  placeBody(name: string, position: readonly [number, number, number]): void {
    this.#model.body_pos.set(position, 3 * this.body(name));
  }

  /** Back to the model's initial state, time 0. */
  reset(): void {
    this.#mujoco.mj_resetData(this.#model, this.#data);
  }

  /** Forgets the forces that the solver would start its next search from, as after `reset`. */
  forgetForces(): void {
    (this.#data.qacc_warmstart as Float64Array).fill(0);
  }

  /** Computes everything that follows from `qpos`, `qvel` and `ctrl` as they are now. */
  forward(): void {
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /**
   * Advances by `substeps` timesteps with the controls as they are, and leaves positions, sensors of position and velocity
   * and everything else that depends on the state alone belonging to the *new* state.
   *
   * @throws PmpoError when the simulation became unstable (MuJoCo found a number that is not finite or huge).
   */
  step(substeps: number): void {
    const mujoco = this.#mujoco;
    const before = this.#data.time;
    // Euler and implicit integrators allow the halves of a step to be called apart: second half now (for the controls just
    // set), first half of the next step at the end (so that readings are fresh) — the work of one step in all.
    let whole = substeps;
    if (!this.#rungeKutta) {
      mujoco.mj_step2(this.#model, this.#data);
      whole--;
    }
    for (let i = 0; i < whole; i++) mujoco.mj_step(this.#model, this.#data);
    mujoco.mj_step1(this.#model, this.#data);
    // MuJoCo answers divergence by resetting the state, its clock included.
    if (!(this.#data.time > before + (substeps - 0.5) * this.timestep)) {
      throw new PmpoError({ what: `the simulation diverged at ${before.toFixed(3)} s`, where: 'MuJoCo' });
    }
  }

  /** Gives the memory back; the object cannot be used afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#views.clear();
    this.#data.delete();
    this.#model.delete();
  }
}
