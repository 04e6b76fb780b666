import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { ConfigError } from '../core/errors.js';
import { nearest } from '../core/nearest.js';
import { randomKey } from '../core/random-keys.js';
import type { Definition } from '../core/registry.js';
import type { Environment } from '../environments/environment.js';
import { MujocoEnvironment } from './mujoco-environment.js';
import type { TaskDefinition } from './task.js';

/** A simulator that can be hosted: how it is called, what can be set, and how a world of it is made. */
export interface SimulatorDefinition extends Definition {
  /**
   * Makes a world. `settings` as a person or a client gave them; they are checked here.
   * @throws ConfigError for an unknown or wrong setting.
   */
  create(settings: Readonly<Record<string, unknown>>): Promise<Environment>;
}

/** What every embedded MuJoCo task lets one set. */
export const taskSettings = z.strictObject({
  episodeSteps: z.int().min(1).max(1_000_000).default(1000).describe('Control steps of an episode'),
  actionRepeat: z
    .int()
    .min(1)
    .max(100)
    .default(1)
    .describe('Control steps for which each action is held; their rewards are added up'),
  seed: z
    .int()
    .min(0)
    .optional()
    .describe('Of the episodes that are reset without a seed of their own; absent: a random one'),
});

/**
 * `settings` with their defaults.
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
    const guess = nearest(key, known);
    throw new ConfigError({
      what: `there is no setting '${key}'`,
      where,
      remedy: `${guess === undefined ? '' : `Did you mean '${guess}'? `}Known: ${known.join(', ')}`,
    });
  }
  throw new ConfigError({ what: issue.message, where: `${where}: ${issue.path.join('.')}` });
}

/** A task as a simulator. */
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
