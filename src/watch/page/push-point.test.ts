import { expect, it } from 'vitest';
import { randomKey } from '../../core/random-keys.js';
import { builtInTasks } from '../../simulators/built-in-tasks.js';
import { MujocoEnvironment } from '../../simulators/mujoco-environment.js';
import { placeOfPoint, pointOfBody, pushPoint } from './push-point.js';

it.each(builtInTasks.map((task) => [task.name, task] as const))(
  'a push moves the bodies of %s',
  async (_, task) => {
    const environment = await MujocoEnvironment.create(task, {
      episodeSteps: 100,
      actionRepeat: 1,
      key: randomKey(0),
    });
    const { shape } = environment.actionSpec.action!;
    const action = {
      action: { dtype: 'float32' as const, shape, data: new Float32Array(shape[0]!).fill(0.1) },
    };
    const poses = async (steps: number, force?: number) => {
      await environment.reset({ seed: 3 });
      const rows = [await environment.poses()];
      for (let i = 0; i < steps; i++) {
        if (force !== undefined)
          environment.push(point.body, [force, 0, 0], placeOfPoint(point, rows.at(-1)!));
        await environment.step(action);
        rows.push(await environment.poses());
      }
      return rows;
    };
    const rehearsal = await poses(40);
    const point = pushPoint(await environment.scene(), rehearsal);
    const pushed = await poses(40, 0.5 * 9.81 * environment.mass);
    const [at, from] = [placeOfPoint(point, pushed.at(-1)!), placeOfPoint(point, rehearsal.at(-1)!)];
    expect(Math.hypot(...at.map((value, axis) => value - from[axis]!))).toBeGreaterThan(0.01);
    // A point of a body is found again by its place.
    const { local } = pointOfBody(point.body, at, pushed.at(-1)!);
    for (const axis of [0, 1, 2] as const) expect(local[axis]).toBeCloseTo(point.local[axis], 5);
    await environment.close();
  },
);
