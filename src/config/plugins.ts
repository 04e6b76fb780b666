import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError, PmpoError } from '../core/errors.js';
import type { Registry } from '../core/registry.js';
import * as tf from '../engine/tf.js';
import type { FeedbackDefinition } from '../feedback/classifier.js';
import type { RewardDefinition } from '../language/rewards/reward.js';
import type { OperatorDefinition } from '../operators/operator.js';
import { importUserModule, type PublicModules } from '../system/user-module.js';

/** Plugins: modules of the user's, named in the configuration, that register operators, feedback classifiers and rewards. */

/** What a plugin's `register` function is given: no import needed, whatever folder the plugin is in. */
export interface PluginApi {
  readonly operators: { register(definition: OperatorDefinition<never>): void };
  readonly feedback: { register(definition: FeedbackDefinition<never>): void };
  readonly rewards: { register(definition: RewardDefinition<never>): void };
  /** zod, for the settings' schema. */
  readonly z: typeof z;
  /** The TensorFlow.js that the engine traces. */
  readonly tf: typeof tf;
}

interface Registries {
  readonly operators: Registry<OperatorDefinition>;
  readonly feedback: Registry<FeedbackDefinition>;
  readonly rewards: Registry<RewardDefinition>;
}

type AnyDefinition = OperatorDefinition | FeedbackDefinition | RewardDefinition;

/** Whatever is wrong with a definition, in words; undefined when it is whole. */
function flaw(definition: Partial<AnyDefinition> | undefined, kind: string): string | undefined {
  if (typeof definition?.name !== 'string') return `something without a name was registered as ${kind}`;
  const maker = kind === 'reward' ? 'open' : 'create';
  if (typeof (definition as Record<string, unknown>)[maker] !== 'function')
    return `the ${kind} '${definition.name}' has no ${maker} function`;
  if (!(definition.settings instanceof z.ZodObject)) {
    return `the settings of the ${kind} '${definition.name}' are no zod object. Use registry.z.strictObject({…})`;
  }
  return undefined;
}

function registrar<D extends AnyDefinition>(registry: Registry<D>, plugin: string) {
  return {
    register(definition: unknown): void {
      const wrong = flaw(definition as Partial<AnyDefinition> | undefined, registry.kind);
      if (wrong !== undefined) throw new ConfigError({ where: `plugin ${plugin}`, what: wrong });
      const whole = definition as D;
      registry.register({
        defaultSamples: 4,
        ...whole,
        description: whole.description ?? `from ${plugin}`,
        plugin,
      });
    },
  };
}

/**
 * Loads plugin modules (.ts, .js, .mjs; TypeScript needs no build step) in order and lets each register what it has.
 *
 * @param paths as in the configuration; relative ones are resolved against `baseFolder`
 * @param modules what plugins may import from this package; by default they resolve 'pmpo' from their own folder
 * @throws ConfigError naming the plugin when it is missing, does not load, has no `register`, throws, or takes a name
 *   that is taken.
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
    const api = {
      operators: registrar(registries.operators, path),
      feedback: registrar(registries.feedback, path),
      rewards: registrar(registries.rewards, path),
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

function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];
}
