import { z } from 'zod';
import type { Definition, Registry } from '../core/registry.js';
import { engineNames } from '../engine/engine.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import type { RegisteredOperator } from '../operators/operator.js';

/** Settings and types that the schemas of all kinds of jobs share. */

/** A number of things, at least one. */
export const count = z.int().min(1);
/** A learning rate, or the rate of a moving average. */
export const rate = z.number().positive().max(1);
export const seconds = z.number().positive();
/** A name that is safe in paths and keys. */
export const slug = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, dots, dashes and underscores');

export const engineSchema = z
  .enum(['auto', ...engineNames])
  .default('auto')
  .describe('The engine of numerical computation; `npx pmpo doctor` lists the available ones');
export const threadsSchema = count
  .max(256)
  .optional()
  .describe('Threads of the engine onnx; default: one per core, at most 8');

export const referenceSchema = z
  .union([
    z.strictObject({ period: count }).describe('A copy of the policy, made every `period` updates'),
    z.strictObject({ rate }).describe('An exponential moving average of the policy'),
    z.literal('initial').describe('The initial policy, for the whole run'),
  ])
  .describe('The reference policy, from which samples are drawn and against which the KL is measured');

export type Registries = {
  readonly operators: Registry<RegisteredOperator>;
  readonly feedback: Registry<RegisteredFeedback>;
};

/** The schema of a group whose `name` is one of the registered definitions and whose other keys are the settings of that one. */
export function namedSettings(registry: {
  definitions(): readonly Definition[];
}): z.ZodType<{ name: string } & Record<string, unknown>> {
  const members = registry
    .definitions()
    .map((d) => z.strictObject({ name: z.literal(d.name), ...d.settings.shape }).describe(d.description));
  type Member = (typeof members)[number];
  return z.discriminatedUnion('name', members as [Member, ...Member[]]);
}

export const stateLearningRateSchema = rate
  .default(1e-2)
  .describe("Learning rate of the operator's state (temperature, dual variables)");

/**
 * The keys that every job has.
 * @param defaultFeedback the name of the classifier of a job whose configuration names none.
 */
export function sharedKeys({ operators, feedback }: Registries, defaultFeedback: string) {
  return {
    output: z.string().default('runs').describe('The folder in which the folder of the run is created'),
    seed: z.int().min(0).default(0).describe('The random seed of the run'),
    plugins: z.array(z.string()).default([]).describe('Paths of modules that export `register(registry)`'),
    operator: namedSettings(operators).prefault({ name: 'pmpo' }).describe('The policy improvement operator'),
    feedback: namedSettings(feedback)
      .prefault({ name: defaultFeedback })
      .describe('The feedback classifier, which decides which samples are accepted and which are rejected'),
  };
}
