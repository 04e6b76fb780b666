import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { ConfigError, PmpoError } from '../core/errors.js';
import type { Definition, Registry } from '../core/registry.js';
import * as tf from '../engine/tf.js';
import type { FeedbackClassifier, FeedbackDefinition, RegisteredFeedback } from '../feedback/classifier.js';
import { defineFeedback } from '../feedback/define.js';
import type { RewardContext, RewardDefinition } from '../language/rewards/reward.js';
import { openUserReward } from '../language/rewards/user-reward.js';
import { defineOperator } from '../operators/define.js';
import type { Operator, OperatorDefinition, RegisteredOperator } from '../operators/operator.js';
import {
  importUserModule,
  locatedMessage,
  messageOf,
  type PublicModules,
  placeIn,
  resolvePackage,
} from '../system/user-module.js';

/** Plugins: user modules or npm packages, named in the configuration, that register operators, feedback classifiers and rewards. */

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

/** Like `fn`, with the line of the plugin in the message of an error that comes from it. */
function located<A extends unknown[], R>(file: string, fn: (...args: A) => R): (...args: A) => R {
  const explain = (cause: unknown): unknown => {
    const place = cause instanceof PmpoError ? undefined : placeIn(file, cause);
    return place === undefined ? cause : new Error(locatedMessage(file, cause), { cause });
  };
  return (...args) => {
    let result: R;
    try {
      result = fn(...args);
    } catch (cause) {
      throw explain(cause);
    }
    if (!(result instanceof Promise)) return result;
    return result.catch((cause) => {
      throw explain(cause);
    }) as R;
  };
}

/** The classifier with methods of its own, whose errors name the plugin's line. `this` in them is the plugin's object. */
function locatedClassifier(file: string, classifier: FeedbackClassifier): FeedbackClassifier {
  const { provides, rejectShare, classify, classifyOnHost } = classifier;
  const traits = { provides, rejectShare: rejectShare?.bind(classifier) };
  if (classify !== undefined) return { ...traits, classify: located(file, classify.bind(classifier)) };
  if (classifyOnHost === undefined) return classifier;
  const { deadlineSeconds, open, close } = classifier;
  return {
    ...traits,
    deadlineSeconds,
    ...(open === undefined ? {} : { open: located(file, open.bind(classifier)) }),
    classifyOnHost: located(file, classifyOnHost.bind(classifier)),
    ...(close === undefined ? {} : { close: close.bind(classifier) }),
  };
}

/** The operator, whose errors name it and the plugin's line. */
function locatedOperator(file: string, operator: Operator): Operator {
  const loss = located(file, operator.loss.bind(operator));
  return {
    ...operator,
    loss(...args) {
      try {
        return loss(...args);
      } catch (cause) {
        if (cause instanceof PmpoError) throw cause;
        throw new PmpoError({
          where: `operator ${operator.name}`,
          what: `it threw: ${messageOf(cause)}`,
          cause,
        });
      }
    },
  };
}

/** The operator's definition, whose operators name the plugin's line in their errors. */
function definePluginOperator(file: string, definition: OperatorDefinition): RegisteredOperator {
  const defined = defineOperator(definition);
  return { ...defined, create: (settings) => locatedOperator(file, defined.create(settings)) };
}

/** The classifier's definition, whose classifiers name the plugin's line in their errors. */
function definePluginFeedback(file: string, definition: FeedbackDefinition): RegisteredFeedback {
  const defined = defineFeedback(definition);
  return {
    ...defined,
    create: (settings, samples) => locatedClassifier(file, defined.create(settings, samples)),
  };
}

/** The reward's definition, which opens it in a thread of its own. */
function inThread(file: string, ownModules: boolean, definition: RewardDefinition): RewardDefinition {
  const { name } = definition;
  return {
    ...definition,
    open: (settings, context) =>
      openUserReward(
        `reward '${name}'`,
        { kind: 'reward', plugin: file, name, settings, where: context.where, ownModules },
        context,
      ),
  };
}

/** The reward's definition in that thread, whose errors name the plugin's line. */
function locatedReward(file: string, definition: RewardDefinition): RewardDefinition {
  return {
    ...definition,
    open: located(file, async (settings: Record<string, unknown>, context: RewardContext) => {
      const reward = await definition.open(settings, context);
      return {
        deadlineSeconds: reward.deadlineSeconds,
        evaluate: located(file, reward.evaluate.bind(reward)),
        close: async () => reward.close?.(),
      };
    }),
  };
}

/** Whether a plugin's name in a configuration is that of a file, and not of an npm package. */
const isPath = (name: string) => /^\.{0,2}[/\\]|^[a-z]:[/\\]|\.[cm]?[jt]s$/i.test(name);

/**
 * The file of a plugin.
 * @param name as in the configuration: a path, relative to `baseFolder`, or the name of an npm package installed there or above.
 * @throws ConfigError if there is no such package.
 */
export function pluginFile(name: string, baseFolder: string): string {
  const path = resolve(baseFolder, name);
  if (isPath(name) || existsSync(path)) return path;
  const file = resolvePackage(name, baseFolder);
  if (file !== undefined) return file;
  throw new ConfigError({
    where: `plugin ${name}`,
    what: `no npm package of this name is installed in ${baseFolder} or above`,
    remedy: `Install it there, or write ./${name} with its extension for a file`,
  });
}

/**
 * Loads plugin modules (.ts, .js, .mjs; TypeScript needs no build step) in order and calls their `register` functions.
 *
 * @param names as in the configuration; see `pluginFile`
 * @param modules what plugins may import from this package; by default they resolve 'pmpo' from their own folder
 * @param options isUserThread: this is the thread in which the plugin's reward runs; elsewhere rewards open such a thread
 * @returns the file of each plugin, by its name
 * @throws ConfigError that names the plugin if it is missing, does not load, has no `register`, throws, or registers a name that
 *   exists already.
 */
export async function loadPlugins(
  names: readonly string[],
  registries: Registries,
  baseFolder: string,
  modules: PublicModules = {},
  { isUserThread = false }: { readonly isUserThread?: boolean } = {},
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const name of names) {
    const where = `plugin ${name}`;
    const file = pluginFile(name, baseFolder);
    files.set(name, file);
    const loaded = await importUserModule(file, where, modules);
    const { register } = loaded;
    if (typeof register !== 'function') {
      throw new ConfigError({
        where,
        what: 'it exports no function `register`',
        remedy: 'Add: export function register(registry) { … }',
      });
    }
    const api: PluginApi = {
      operators: registrar(
        registries.operators,
        (definition: OperatorDefinition) => definePluginOperator(file, definition),
        name,
      ),
      feedback: registrar(
        registries.feedback,
        (definition: FeedbackDefinition) => definePluginFeedback(file, definition),
        name,
      ),
      rewards: registrar(
        registries.rewards,
        (definition: RewardDefinition) =>
          isUserThread
            ? locatedReward(file, definition)
            : inThread(file, Object.keys(modules).length > 0, definition),
        name,
      ),
      z,
      tf,
    };
    try {
      await register(api);
    } catch (cause) {
      if (cause instanceof PmpoError) throw cause;
      throw new ConfigError({ where, what: `register threw: ${locatedMessage(file, cause)}`, cause });
    }
  }
  return files;
}
