import { ConfigError } from '../core/errors.js';
import { Registry } from '../core/registry.js';
import type { Environment } from '../environments/environment.js';
import { type SimulatorDefinition, taskSimulator } from './definition.js';
import type { TaskDefinition } from './task.js';
import { acrobotSwingup } from './tasks/acrobot.js';
import { cartpoleBalance, cartpoleSwingup } from './tasks/cartpole.js';
import { cheetahRun } from './tasks/cheetah.js';
import { humanoidStand } from './tasks/humanoid.js';
import { quadrupedRun } from './tasks/quadruped.js';
import { reacher } from './tasks/reacher.js';
import { walkerRun, walkerStand, walkerWalk } from './tasks/walker.js';

/** Every embedded task, in the order in which `pmpo simulators` lists them. */
export const builtInTasks: readonly TaskDefinition[] = [
  cartpoleSwingup,
  cartpoleBalance,
  acrobotSwingup,
  reacher,
  walkerStand,
  walkerWalk,
  walkerRun,
  cheetahRun,
  quadrupedRun,
  humanoidStand,
];

/** Registers every embedded task as a simulator; returns the registry. */
export function registerBuiltInSimulators(
  registry: Registry<SimulatorDefinition>,
): Registry<SimulatorDefinition> {
  for (const task of builtInTasks) registry.register(taskSimulator(task));
  return registry;
}

/** The simulators that can be hosted. Nothing of MuJoCo is loaded before the first world is made. */
export const simulators: Registry<SimulatorDefinition> = registerBuiltInSimulators(new Registry('simulator'));

/** The simulator of a world whose settings name none. */
export const defaultSimulator = 'cartpole_swingup';

/**
 * Makes a world of the simulator that `settings.simulator` names, with the other settings as its own.
 * @throws ConfigError when there is no such simulator, or when it has no such setting or not with that value.
 */
export async function createSimulator(settings: Readonly<Record<string, unknown>>): Promise<Environment> {
  const { simulator = defaultSimulator, ...own } = settings;
  if (typeof simulator !== 'string') {
    throw new ConfigError({
      what: `expected the name of a simulator, got ${String(simulator)}`,
      where: 'simulator',
    });
  }
  return simulators.get(simulator).create(own);
}
