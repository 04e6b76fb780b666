import { z } from 'zod';
import type { Definition, Registry } from '../core/registry.js';
import { engineNames } from '../engine/engine.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import type { RegisteredOperator } from '../operators/operator.js';

/** Parts that the schemas of all jobs are made of. */

export const count = z.int().min(1);
export const rate = z.number().positive().max(1);
export const seconds = z.number().positive();
export const slug = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, dots, dashes and underscores');

export const engineSchema = z
  .enum(['auto', ...engineNames])
  .default('auto')
  .describe('What runs the numerical work; `pmpo doctor` says what there is');
export const threadsSchema = count
  .max(256)
  .optional()
  .describe('Threads of the engine (onnx); default: one for each core, up to 8');

export const referenceSchema = z
  .union([
    z.strictObject({ period: count }).describe('Copied from the policy every `period` updates'),
    z.strictObject({ rate }).describe('A moving average of the policy'),
    z.literal('initial').describe('The policy as it was at the start'),
  ])
  .describe('The reference policy: where the samples come from and what the KL is measured against');

export type Registries = {
  readonly operators: Registry<RegisteredOperator>;
  readonly feedback: Registry<RegisteredFeedback>;
};

/** A group that names what it is for, with the settings of what it names. */
export function namedSettings(registry: {
  definitions(): readonly Definition[];
}): z.ZodType<{ name: string } & Record<string, unknown>> {
  const members = registry
    .definitions()
    .map((d) => z.strictObject({ name: z.literal(d.name), ...d.settings.shape }).describe(d.description));
  type Member = (typeof members)[number];
  return z.discriminatedUnion('name', members as [Member, ...Member[]]) as unknown as z.ZodType<
    { name: string } & Record<string, unknown>
  >;
}

export const stateLearningRateSchema = rate
  .default(1e-2)
  .describe("Of the operator's own state (temperature, dual variables)");

/** The keys that every job has. */
export function sharedKeys({ operators, feedback }: Registries) {
  return {
    output: z.string().default('runs').describe('Folder under which the run makes its own'),
    seed: z.int().min(0).default(0).describe('Of everything random in the run'),
    plugins: z.array(z.string()).default([]).describe('Modules that export `register(registry)`'),
    operator: namedSettings(operators).prefault({ name: 'pmpo' }).describe('The policy improvement operator'),
    feedback: namedSettings(feedback)
      .prefault({ name: 'top-k' })
      .describe('What says which samples are accepted and which are rejected'),
  };
}
