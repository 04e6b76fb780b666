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

/** The embedded tasks, in the order of `pmpo simulators`. */
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

/** Registers the embedded tasks as simulators. Returns the registry. */
export function registerBuiltInSimulators(
  registry: Registry<SimulatorDefinition>,
): Registry<SimulatorDefinition> {
  for (const task of builtInTasks) registry.register(taskSimulator(task));
  return registry;
}

/** The simulators that can be served. MuJoCo is loaded when the first environment is made. */
export const simulators: Registry<SimulatorDefinition> = registerBuiltInSimulators(new Registry('simulator'));

/** The simulator for settings that do not name one. */
export const defaultSimulator = 'cartpole_swingup';

/**
 * Makes an environment of the simulator that `settings.simulator` names; the other settings are passed on to it.
 * @throws ConfigError for an unknown simulator, and for an unknown or wrong setting.
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
