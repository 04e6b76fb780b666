import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import { suggestion } from '../core/nearest.js';
import { randomKey } from '../core/random-keys.js';
import type { Definition } from '../core/registry.js';
import type { Environment } from '../environments/environment.js';
import { MujocoEnvironment } from './mujoco-environment.js';
import type { TaskDefinition } from './task.js';

/** A simulator that can be served: its name, its settings, and how to make an environment of it. */
export interface SimulatorDefinition extends Definition {
  /**
   * Makes an environment from settings that are not yet checked.
   * @throws ConfigError for an unknown or wrong setting.
   */
  create(settings: Readonly<Record<string, unknown>>): Promise<Environment>;
}

/** The settings of every embedded MuJoCo task. */
export const taskSettings = z.strictObject({
  episodeSteps: z.int().min(1).max(1_000_000).default(1000).describe('Control steps of an episode'),
  actionRepeat: z
    .int()
    .min(1)
    .max(100)
    .default(1)
    .describe('Control steps for which each action is held; their rewards are added up'),
  seed: z.int().min(0).optional().describe('Seed of episodes that are reset without one; random by default'),
});

/**
 * Checks settings and fills in the defaults.
 * @throws ConfigError naming the first setting that is wrong or unknown.
 */
export function checkSettings<S extends z.ZodObject>(
  where: string,
  schema: S,
  settings: Readonly<Record<string, unknown>>,
): z.infer<S> {
  const result = schema.safeParse(settings);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0];
    const known = Object.keys(schema.shape);
    throw new ConfigError({
      what: `unknown setting '${key}'`,
      where,
      remedy: `${suggestion(key, known)}Known: ${known.join(', ')}`,
    });
  }
  throw new ConfigError({ what: issue.message, where: `${where}: ${issue.path.join('.')}` });
}

/** The simulator of a task. */
export function taskSimulator(definition: TaskDefinition): SimulatorDefinition {
  const { name, description } = definition;
  return {
    name,
    description,
    settings: taskSettings,
    async create(settings) {
      const {
        episodeSteps,
        actionRepeat,
        seed = randomInt(2 ** 32),
      } = checkSettings(name, taskSettings, settings);
      return MujocoEnvironment.create(definition, { episodeSteps, actionRepeat, key: randomKey(seed) });
    },
  };
}
