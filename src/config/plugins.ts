import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { createJiti } from 'jiti';
import { z } from 'zod';
import * as tf from '../engine/tf.js';
import { ConfigError, PmpoError } from '../errors.js';
import type { FeedbackDefinition } from '../feedback/classifier.js';
import type { OperatorDefinition } from '../operators/operator.js';
import type { Registry } from '../registry/registry.js';

/** Plugins: modules of the user's, named in the configuration, that register operators and feedback classifiers. */

/** What a plugin's `register` function is given: no import needed, whatever folder the plugin is in. */
export interface PluginApi {
  readonly operators: { register(definition: OperatorDefinition<never>): void };
  readonly feedback: { register(definition: FeedbackDefinition<never>): void };
  /** zod, for the settings' schema. */
  readonly z: typeof z;
  /** The TensorFlow.js that the engine traces. */
  readonly tf: typeof tf;
}

interface Registries {
  readonly operators: Registry<OperatorDefinition>;
  readonly feedback: Registry<FeedbackDefinition>;
}

type AnyDefinition = OperatorDefinition | FeedbackDefinition;

/** Whatever is wrong with a definition, in words; undefined when it is whole. */
function flaw(definition: Partial<AnyDefinition> | undefined, kind: string): string | undefined {
  if (typeof definition?.name !== 'string') return `something without a name was registered as ${kind}`;
  if (typeof definition.create !== 'function')
    return `the ${kind} '${definition.name}' has no create function`;
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
 * A plugin may also `import … from 'pmpo'`: it gets this very package.
 *
 * @param paths as in the configuration; relative ones are resolved against `baseFolder`
 * @throws ConfigError naming the plugin when it is missing, does not load, has no `register`, throws, or takes a name
 *   that is taken.
 */
export async function loadPlugins(
  paths: readonly string[],
  registries: Registries,
  baseFolder: string,
): Promise<void> {
  if (paths.length === 0) return;
  // The modules loaded already, not their files: a second copy would have other classes and another TensorFlow.js.
  const virtualModules = { pmpo: await import('../index.js') };
  const jiti = createJiti(import.meta.url, { virtualModules, moduleCache: false, fsCache: false });
  for (const path of paths) {
    const file = resolve(baseFolder, path);
    const where = `plugin ${path}`;
    if (!existsSync(file)) {
      throw new ConfigError({
        where,
        what: `there is no file ${file}`,
        remedy: 'Paths are relative to the configuration file',
      });
    }
    const loaded = await importPlugin(jiti, file, where);
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

async function importPlugin(
  jiti: ReturnType<typeof createJiti>,
  file: string,
  where: string,
): Promise<{ register?: (api: unknown) => unknown }> {
  try {
    return (await jiti.import(file)) as { register?: (api: unknown) => unknown };
  } catch (cause) {
    throw new ConfigError({ where, what: `it does not load: ${messageOf(cause)}`, cause });
  }
}

function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];
}
