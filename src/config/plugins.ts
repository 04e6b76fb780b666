import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError, PmpoError } from '../core/errors.js';
import type { Definition, Registry } from '../core/registry.js';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition, RegisteredFeedback } from '../feedback/classifier.js';
import { defineFeedback } from '../feedback/define.js';
import type { RewardDefinition } from '../language/rewards/reward.js';
import { defineOperator } from '../operators/define.js';
import type { OperatorDefinition, RegisteredOperator } from '../operators/operator.js';
import { importUserModule, messageOf, type PublicModules } from '../system/user-module.js';

/** Plugins: user modules, named in the configuration, that register operators, feedback classifiers and rewards. */

/** The argument of a plugin's `register` function. With it, a plugin in any folder needs no import. */
export interface PluginApi {
  readonly operators: { register<S extends z.ZodObject>(definition: OperatorDefinition<S>): void };
  readonly feedback: { register<S extends z.ZodObject>(definition: FeedbackDefinition<S>): void };
  readonly rewards: { register(definition: RewardDefinition<never>): void };
  /** zod, for the settings' schema. */
  readonly z: typeof z;
  /** The TensorFlow.js that the engine traces. */
  readonly tf: typeof tf;
}

interface Registries {
  readonly operators: Registry<RegisteredOperator>;
  readonly feedback: Registry<RegisteredFeedback>;
  readonly rewards: Registry<RewardDefinition>;
}

/** The problem of a definition that a plugin registers; undefined if it is complete. */
function problemOf(definition: unknown, kind: string): string | undefined {
  const { name, settings, ...rest } = (definition ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string')
    return `${kind === 'operator' ? 'an' : 'a'} ${kind} without a name was registered`;
  const maker = kind === 'reward' ? 'open' : 'create';
  if (typeof rest[maker] !== 'function') return `the ${kind} '${name}' has no ${maker} function`;
  if (settings instanceof z.ZodObject) return undefined;
  return `the settings of the ${kind} '${name}' must be a zod object. Use registry.z.strictObject({…})`;
}

/** The `register` method for definitions of one kind; its errors name the plugin. */
function registrar<D extends Definition, R extends Definition>(
  registry: Registry<R>,
  define: (definition: D) => R,
  plugin: string,
) {
  return {
    register(definition: D): void {
      const problem = problemOf(definition, registry.kind);
      if (problem !== undefined) throw new ConfigError({ where: `plugin ${plugin}`, what: problem });
      const description = definition.description ?? `from ${plugin}`;
      registry.register(define({ ...definition, description, plugin }));
    },
  };
}

/**
 * Loads plugin modules (.ts, .js, .mjs; TypeScript needs no build step) in order and calls their `register` functions.
 *
 * @param paths as in the configuration; relative ones are resolved against `baseFolder`
 * @param modules what plugins may import from this package; by default they resolve 'pmpo' from their own folder
 * @throws ConfigError that names the plugin if it is missing, does not load, has no `register`, throws, or registers a name that
 *   exists already.
 */
export async function loadPlugins(
  paths: readonly string[],
  registries: Registries,
  baseFolder: string,
  modules: PublicModules = {},
): Promise<void> {
  for (const path of paths) {
    const where = `plugin ${path}`;
    const loaded = await importUserModule(resolve(baseFolder, path), where, modules);
    const { register } = loaded;
    if (typeof register !== 'function') {
      throw new ConfigError({
        where,
        what: 'it exports no function `register`',
        remedy: 'Add: export function register(registry) { … }',
      });
    }
    const api: PluginApi = {
      operators: registrar(registries.operators, defineOperator, path),
      feedback: registrar(registries.feedback, defineFeedback, path),
      rewards: registrar(registries.rewards, (definition: RewardDefinition) => definition, path),
      z,
      tf,
    };
    try {
      await register(api);
    } catch (cause) {
      if (cause instanceof PmpoError) throw cause;
      throw new ConfigError({ where, what: `register threw: ${messageOf(cause)}`, cause });
    }
  }
}
