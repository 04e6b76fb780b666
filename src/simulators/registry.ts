import { Registry } from '../registry/registry.js';
import { type SimulatorDefinition, taskSimulator } from './definition.js';
import type { TaskDefinition } from './task.js';
import { cartpoleBalance, cartpoleSwingup } from './tasks/cartpole.js';

/** Every embedded task, in the order in which `pmpo simulators` lists them. */
export const builtInTasks: readonly TaskDefinition[] = [cartpoleSwingup, cartpoleBalance];

/** Registers every embedded task as a simulator; returns the registry. */
export function registerBuiltInSimulators(
  registry: Registry<SimulatorDefinition>,
): Registry<SimulatorDefinition> {
  for (const task of builtInTasks) registry.register(taskSimulator(task));
  return registry;
}

/** The simulators that can be hosted. Nothing of MuJoCo is loaded before the first world is made. */
export const simulators: Registry<SimulatorDefinition> = registerBuiltInSimulators(new Registry('simulator'));
