import { z } from 'zod';
import { connectionDefaults } from '../grpc/connection-defaults.js';
import { addressSchema, tlsSchema, tokenSchema } from '../grpc/schema.js';
import {
  count,
  engineSchema,
  type Registries,
  rate,
  referenceSchema,
  seconds,
  sharedKeys,
  slug,
  stateLearningRateSchema,
  threadsSchema,
} from './schema-parts.js';

/**
 * Every setting of a control job, its default and its meaning, in one place; language-schema.ts has those of language jobs.
 * `pmpo schema` prints both as JSON Schema, `config.yaml` in a run's folder holds one fully resolved. Settings of operators and
 * feedback classifiers stand with their definition and join here, so that those of a plugin are checked like the built-in ones.
 */

const network = {
  hidden: z.array(count.max(8192)).min(1).default([256, 256]).describe('Widths of the hidden layers'),
  activation: z.enum(['elu', 'relu', 'tanh']).default('elu').describe('Between the hidden layers'),
  layerNorm: z
    .boolean()
    .default(true)
    .describe('Layer normalisation and tanh after the first layer, which keeps inputs of any scale in range'),
};

export const environmentSchema = z
  .strictObject({
    simulator: z
      .string()
      .optional()
      .describe(
        'An embedded simulator (see `pmpo simulators`), or the name handed to a remote one as `simulator`',
      ),
    address: z
      .union([addressSchema, z.array(addressSchema).min(1)])
      .optional()
      .describe(
        'host:port of a dm_env_rpc server, or a list of several, among which the actors are dealt out in turn; absent: the embedded server is started for this run',
      ),
    tls: tlsSchema,
    token: tokenSchema,
    observations: z
      .array(z.string())
      .min(1)
      .optional()
      .describe('The observations that the policy sees; default: every one that holds numbers'),
    createSettings: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
      .prefault({})
      .describe('Settings sent with CreateWorld, beside `simulator`'),
    joinSettings: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
      .prefault({})
      .describe('Settings sent with JoinWorld'),
    numEnvs: count.max(256).default(8).describe('K, environments stepped at once'),
    envsPerStream: count
      .max(256)
      .default(1)
      .describe(
        'How many of them share a stream, so that one message steps them all; more than 1 needs a server that knows the setting `batchSize`, as those of `pmpo serve` do',
      ),
    lockstep: z
      .boolean()
      .default(true)
      .describe(
        'true: all actors step together, exactly repeatable. false: half of them suffice to go on, so that a slow or lost server does not hold back the others',
      ),
    deadlineSeconds: seconds
      .default(30)
      .describe('How long one call may take before the connection counts as lost'),
    keepaliveSeconds: seconds
      .default(connectionDefaults.keepaliveSeconds)
      .describe('Time between signs of life on a silent connection; servers may hang up on less than 300'),
    maxMessageMegabytes: seconds
      .default(connectionDefaults.maxMessageMegabytes)
      .describe('Larger messages are an error'),
    reconnect: z
      .strictObject({
        attempts: z.int().min(0).default(8).describe('Attempts after a lost connection before the run stops'),
        initialDelaySeconds: seconds
          .default(0.25)
          .describe('Delay before the first; doubled for each one after'),
        maxDelaySeconds: seconds.default(10),
      })
      .prefault({})
      .describe('What happens when the server goes away in the middle of a run'),
  })
  .describe('Where the experience comes from');

export const policySchema = z
  .strictObject({
    head: z
      .enum(['auto', 'gaussian', 'categorical'])
      .default('auto')
      .describe(
        'Diagonal Gaussian, or a categorical over the values of each integer action and over equal bins of each other dimension; auto: categorical where an action is an integer',
      ),
    ...network,
    bins: z.int().min(2).max(1001).default(11).describe('Bins per action dimension (categorical head)'),
    minStddev: z
      .number()
      .positive()
      .default(0.05)
      .describe('Floor of the standard deviation (Gaussian head)'),
    initialStddev: z
      .number()
      .positive()
      .default(0.5)
      .describe('Standard deviation at the start (Gaussian head)'),
  })
  .describe('The policy network and its head');

export const criticSchema = z
  .strictObject({
    ...network,
    ensemble: count.max(16).default(2).describe('Critics trained side by side'),
    aggregate: z.enum(['min', 'mean']).default('mean').describe('How the ensemble makes one value'),
    learningRate: rate.default(3e-4),
    target: z
      .union([z.strictObject({ period: count }), z.strictObject({ rate })])
      .prefault({ period: 100 })
      .describe('The target critics: copied every `period` updates, or a moving average with `rate`'),
  })
  .describe('Q(x, y): what evaluates the samples');

export const learnerSchema = z
  .strictObject({
    environmentSteps: count.default(100_000).describe('Environment steps in all, over all actors'),
    warmupSteps: z.int().min(0).default(1_000).describe('Steps with random actions before the first update'),
    explorationCorrelation: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe(
        "Correlation of the noise of one acting step with the next (0: white noise); default: 0.95 for continuous actions, 0 for integers. The policy's own spread is kept; only the actor uses it",
      ),
    stepsPerUpdate: count.default(2).describe('Environment steps for each update'),
    batchSize: count.max(65_536).default(256).describe('B, contexts in a batch'),
    samples: count
      .max(1024)
      .optional()
      .describe('N, samples per context; default: what the operator prefers'),
    learningRate: rate.default(3e-4).describe("Of the policy's Adam"),
    stateLearningRate: stateLearningRateSchema,
    decayFrom: z
      .number()
      .min(0)
      .max(1)
      .default(0.5)
      .describe(
        'Share of the run after which the learning rates of policy and critics fall linearly, to a twentieth at the end; 1: never',
      ),
    maxGradientNorm: z.number().positive().default(40).describe('Gradients are scaled down to this norm'),
    discount: z.number().min(0).max(1).default(0.99),
  })
  .describe('How experience becomes updates');

/** Where a password or a token is: never the thing itself, which a configuration would show to everyone. */
const secretSchema = z.union([
  z.strictObject({ file: z.string().min(1) }).describe('In a file, whose last line break does not count'),
  z.strictObject({ environmentVariable: z.string().min(1) }).describe('In an environment variable'),
]);

export const replaySchema = z
  .strictObject({
    capacity: count.default(1_000_000).describe('Transitions kept; the oldest go first'),
    nStep: count.max(100).default(5).describe('n of the n-step returns'),
    redis: z
      .string()
      .regex(
        /^rediss?:\/\/[^\s/]+(\/\d+)?$/,
        'redis://host:port, or rediss://host:port for TLS, with /number for a database',
      )
      .optional()
      .describe(
        'redis://host:port of the Redis through which actors elsewhere (`pmpo act`) feed this learner; absent: the learner acts itself',
      ),
    redisPassword: secretSchema.optional().describe('Where the password of Redis is'),
    redisTls: z
      .strictObject({
        ca: z.string().optional().describe('Certificates to trust; default: those of the system'),
        certificate: z.string().optional().describe("This side's own, where Redis asks for one"),
        key: z.string().optional().describe('Its private key'),
        serverName: z.string().optional().describe("The name in Redis's certificate, if not the host"),
      })
      .optional()
      .describe('PEM files for rediss://'),
    name: slug
      .optional()
      .describe("The run's name in Redis, by which actors find it; default: the run's name"),
    samplesPerInsert: z
      .number()
      .positive()
      .optional()
      .describe(
        'How often each transition from Redis is learned from, on average; default: learner.batchSize / learner.stepsPerUpdate',
      ),
    errorBuffer: z
      .number()
      .positive()
      .optional()
      .describe(
        'Samples by which learner or actors may be ahead of samplesPerInsert before they wait for each other; default: a tenth of what the warm-up is worth',
      ),
    publishEvery: count.default(20).describe('Updates between policies published to actors in Redis'),
    discard: z
      .boolean()
      .default(false)
      .describe('Whether a new run throws away one of the same name in Redis that has not ended'),
  })
  .describe('What is remembered');

export const evaluationSchema = z
  .strictObject({
    every: count.default(10_000).describe('Environment steps between evaluations'),
    episodes: count
      .max(1000)
      .default(10)
      .describe('Episodes of each evaluation, with the mode of the policy'),
  })
  .describe('How progress is measured');

export const checkpointSchema = z
  .strictObject({
    every: count.default(25_000).describe('Environment steps between checkpoints'),
    keep: count.default(2).describe('Checkpoints kept'),
  })
  .describe('What a stopped run goes on from');

/** The schema of a whole configuration file of a control job, with the operators and classifiers registered now. */
export function configSchema(registries: Registries) {
  const { output, seed, plugins, operator, feedback } = sharedKeys(registries);
  return z.strictObject({
    name: slug.optional().describe("The run's name; default: simulator, operator and seed"),
    output,
    seed,
    plugins,
    engine: engineSchema,
    threads: threadsSchema,
    environment: environmentSchema,
    operator,
    feedback,
    reference: referenceSchema.prefault({ period: 100 }),
    policy: policySchema.prefault({}),
    critic: criticSchema.prefault({}),
    learner: learnerSchema.prefault({}),
    replay: replaySchema.prefault({}),
    evaluation: evaluationSchema.prefault({}),
    checkpoint: checkpointSchema.prefault({}),
  });
}

/** A control job's configuration with every default filled in. */
export type Config = z.infer<ReturnType<typeof configSchema>>;
