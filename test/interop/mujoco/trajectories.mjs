// Prints trajectories of the embedded MuJoCo for every built-in model as JSON: the model, the initial state, the controls
// and the state after each control step. test_native.py repeats them with native MuJoCo and compares.

import { bitGenerator, foldIn, randomKey } from '../../../dist/core/random-keys.js';
import { builtInTasks } from '../../../dist/simulators/built-in-tasks.js';
import { Physics } from '../../../dist/simulators/physics.js';

const controlSteps = 50;
const seeds = [0, 1];

const trajectories = [];
for (const definition of builtInTasks) {
  for (const seed of seeds) {
    const physics = await Physics.load(definition.mjcf);
    const task = definition.bind(physics);
    const { minimum, maximum } = physics.controlRange();
    const next = bitGenerator(foldIn(randomKey(seed), definition.name));
    physics.reset();
    task.initialize(randomKey(seed));
    physics.forgetForces();
    physics.forward();
    const start = { qpos: [...physics.qpos], qvel: [...physics.qvel] };
    const controls = [];
    const states = [];
    for (let t = 0; t < controlSteps; t++) {
      controls.push(minimum.map((low, i) => low + (maximum[i] - low) * (next() / 2 ** 32)));
      physics.ctrl.set(controls.at(-1));
      physics.step(definition.substeps);
      states.push([...physics.qpos, ...physics.qvel]);
    }
    const sensors = [...physics.sensordata];
    const { name, mjcf, substeps } = definition;
    trajectories.push({ name, seed, mjcf, substeps, ...start, controls, states, sensors });
    physics.close();
  }
}
process.stdout.write(JSON.stringify(trajectories));
