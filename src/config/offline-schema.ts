import { z } from 'zod';
import { criticSchema, evaluationKeys, policySchema, updateKeys } from './control-schema.js';
import { environmentSchema } from './environment-schema.js';
import {
  count,
  engineSchema,
  type Registries,
  referenceSchema,
  sharedKeys,
  slug,
  threadsSchema,
} from './shared-schema.js';

/** Every setting of an offline job, which learns from fixed transitions, with its default and its meaning; see control-schema.ts. */

const datasetSchema = z
  .strictObject({
    file: z
      .string()
      .min(1)
      .describe(
        'The transitions: a data set of Minari in HDF5 (its folder, or main_data.hdf5), a .parquet file, or a .jsonl file',
      ),
    nStep: count
      .max(100)
      .default(5)
      .describe('n, the number of steps of an n-step return; 1 in a file of single transitions'),
    megabytes: z
      .number()
      .positive()
      .default(1024)
      .describe(
        'Memory for transitions; of a larger data set, a window of blocks in random order is held, which moves on as it is learned from',
      ),
    actionBounds: z
      .tuple([z.number(), z.number()])
      .optional()
      .describe(
        'The smallest and the largest action of a file that does not bound its actions, such as [-1, 1]',
      ),
    actionValues: count
      .max(4096)
      .optional()
      .describe(
        'The number of values of each action, if actions are whole numbers from 0 and the file does not say so',
      ),
  })
  .describe('The transitions to learn from');

const learnerSchema = z
  .strictObject({
    updates: count.default(10_000).describe('Total number of updates'),
    actions: z
      .enum(['data', 'policy', 'both'])
      .default('data')
      .describe(
        "The actions to which feedback and operator apply. data: the data's own action of each state, one sample; policy: N samples of the reference policy; both: all of these as one context",
      ),
    operatorWeight: z
      .number()
      .min(0)
      .default(1)
      .describe("Weight of the operator's loss; 0 leaves behavior cloning alone"),
    behaviorCloning: z
      .number()
      .min(0)
      .default(1)
      .describe(
        "Weight of behavior cloning: of −log π(a|s), the mean over the data's own actions. It holds the policy to the data",
      ),
    batchSize: count.max(65_536).default(256).describe('B, contexts per batch'),
    samples: count
      .max(1024)
      .optional()
      .describe(
        "N, samples of the policy for each context, whose mean value is V(s); default: the operator's own",
      ),
    ...updateKeys(''),
  })
  .describe('How the policy and the critics are trained');

const evaluationSchema = z
  .strictObject({
    every: count.default(2_500).describe('Updates between two evaluations'),
    ...evaluationKeys,
  })
  .describe('When and how the policy is evaluated, if there is an environment');

const checkpointSchema = z
  .strictObject({
    every: count.default(2_500).describe('Updates between two checkpoints'),
    keep: count.default(2).describe('Number of checkpoints kept'),
  })
  .describe('Checkpoints, from which a stopped run resumes');

/** The schema of an offline job's configuration, for the registered operators and classifiers. */
export function offlineConfigSchema(registries: Registries) {
  const { output, seed, plugins, operator, feedback } = sharedKeys(registries, 'value-baseline');
  return z.strictObject({
    name: slug.optional().describe("The run's name; default: data set, operator and seed"),
    output,
    seed,
    plugins,
    engine: engineSchema,
    threads: threadsSchema,
    dataset: datasetSchema,
    environment: environmentSchema
      .optional()
      .describe('The environments in which the policy is evaluated; absent: it is trained and not evaluated'),
    operator,
    feedback,
    reference: referenceSchema.prefault({ period: 100 }),
    policy: policySchema.prefault({}),
    critic: criticSchema.prefault({}),
    learner: learnerSchema.prefault({}),
    evaluation: evaluationSchema.prefault({}),
    checkpoint: checkpointSchema.prefault({}),
  });
}

/** An offline job's configuration with every default filled in. */
export type OfflineConfig = z.infer<ReturnType<typeof offlineConfigSchema>>;
