import { afterEach, describe, expect, it } from 'vitest';
import { mujocoVersion, Physics } from './physics.js';

const ball = (memory: string) => `
<mujoco>
  <size memory="${memory}"/>
  <option timestep="0.01"/>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1"/>
    <body name="ball" pos="0 0 1">
      <freejoint name="root"/>
      <geom name="ball" size="0.1"/>
      <site name="centre"/>
      <body name="arm">
        <joint name="free arm"/>
        <joint name="arm" range="-90 45"/>
        <geom size="0.01" pos="0 0 0.2"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="arm" joint="arm" ctrllimited="true" ctrlrange="-2 3"/>
  </actuator>
  <sensor>
    <framepos name="place" objtype="body" objname="ball"/>
    <velocimeter name="velocity" site="centre"/>
  </sensor>
</mujoco>`;

const open: Physics[] = [];
async function load(memory = '200K'): Promise<Physics> {
  const physics = await Physics.load(ball(memory));
  open.push(physics);
  return physics;
}

describe('Physics', () => {
  afterEach(() => {
    for (const physics of open.splice(0)) physics.close();
  });

  it('reports its version', async () => {
    expect(await mujocoVersion()).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('pushes a body: the force moves its center of mass, and turns it if it is applied elsewhere', async () => {
    const physics = await Physics.load(`
<mujoco>
  <option timestep="0.001" gravity="0 0 0"/>
  <worldbody>
    <body name="ball" pos="0 0 1"><freejoint/><geom size="0.1" mass="2"/></body>
  </worldbody>
</mujoco>`);
    open.push(physics);
    expect(physics.mass).toBe(2);
    const ball = physics.body('ball');
    physics.forward();
    physics.push(ball, [4, 0, 0], [0, 0, 1.05]);
    physics.step(100);
    // v = F t / m, and ω = r F t / I with I = 2/5 m r² for a ball.
    expect(physics.qvel[0]).toBeCloseTo(0.2, 6);
    expect(physics.qvel[4]).toBeCloseTo((0.05 * 4 * 0.1) / (0.4 * 2 * 0.01), 4);
    physics.push(ball, [0, 0, 0], [0, 0, 0]);
    physics.step(100);
    expect(physics.qvel[0]).toBeCloseTo(0.2, 6);
    physics.push(ball, [4, 0, 0], [0, 0, 1]);
    physics.reset();
    physics.forward();
    physics.step(100);
    expect(physics.qvel[0]).toBe(0);
  });

  it('gives the places of names in the arrays', async () => {
    const physics = await load();
    expect([physics.nq, physics.nv, physics.nu, physics.timestep]).toEqual([9, 8, 1, 0.01]);
    expect(physics.joint('root')).toEqual({ kind: 'free', position: 0, velocity: 0, range: undefined });
    expect(physics.joint('arm')).toMatchObject({ kind: 'hinge', position: 8, velocity: 7 });
    expect(physics.joint('arm').range).toEqual([-Math.PI / 2, Math.PI / 4]);
    expect(physics.scalarJoints().map(({ position }) => position)).toEqual([7, 8]);
    expect(physics.sensor('velocity')).toEqual({ start: 3, size: 3 });
    expect(physics.controlRange()).toEqual({ minimum: [-2], maximum: [3] });
    physics.forward();
    expect([...physics.xpos.subarray(3 * physics.body('ball'), 3 * physics.body('ball') + 3)]).toEqual([
      0, 0, 1,
    ]);
  });

  it('reads sensors of the new state after a step', async () => {
    const physics = await load();
    physics.forward();
    physics.step(5);
    expect(physics.time).toBeCloseTo(0.05);
    expect([...physics.sensordata.subarray(0, 3)]).toEqual([...physics.qpos.subarray(0, 3)]);
    expect(physics.sensordata[5]).toBeCloseTo(physics.qvel[2], 12);
    expect(physics.qvel[2]).toBeCloseTo(-9.81 * 0.05, 3);
  });

  it('gives valid arrays after loading other models has moved its memory', async () => {
    const physics = await load();
    const before = physics.qpos;
    const others: Physics[] = [];
    while (before.length > 0 && others.length < 64) others.push(await load('32M'));
    expect(before.length).toBe(0);
    expect(physics.qpos.length).toBe(9);
    physics.qpos[2] = 3;
    physics.forward();
    expect(physics.xpos[3 * physics.body('ball') + 2]).toBe(3);
    expect(others.length).toBeGreaterThan(0);
  });

  it('measures overlaps', async () => {
    const physics = await load();
    physics.forward();
    expect([physics.contacts, physics.penetration()]).toEqual([0, 0]);
    physics.qpos[2] = 0.08;
    physics.forward();
    expect(physics.penetration()).toBeCloseTo(0.02, 10);
  });

  it('has errors for an invalid model and for an unknown name', async () => {
    await expect(Physics.load('<mujoco><option timestp="1"/></mujoco>')).rejects.toThrow(
      /MuJoCo model: .*unrecognized attribute: 'timestp'/,
    );
    const physics = await load();
    expect(() => physics.joint('elbow')).toThrow("unknown joint 'elbow'");
  });

  it('reports divergence instead of continuing from a reset state', async () => {
    const physics = await load();
    physics.step(3);
    physics.qvel[2] = Number.NaN;
    expect(() => physics.step(1)).toThrow(/diverged at 0\.030 s/);
  });
});
