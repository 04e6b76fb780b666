import { ConfigError } from '../core/errors.js';
import { Registry } from '../core/registry.js';
import type { Environment } from '../environments/environment.js';
import { builtInTasks } from './built-in-tasks.js';
import { type SimulatorDefinition, taskSimulator } from './definition.js';

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
