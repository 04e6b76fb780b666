import { z } from 'zod';
import { environmentSchema } from './environment-schema.js';
import {
  count,
  engineSchema,
  type Registries,
  rate,
  referenceSchema,
  sharedKeys,
  slug,
  stateLearningRateSchema,
  threadsSchema,
} from './shared-schema.js';

/**
 * Every setting of a control job with its default and its meaning; language-schema.ts has those of language jobs.
 * `pmpo schema` prints both as JSON Schema, and `config.yaml` in a run's folder has every value filled in. The settings of
 * operators and feedback classifiers are defined with them and are added here, so that a plugin's settings are validated like
 * the built-in ones.
 */

const network = {
  hidden: z.array(count.max(8192)).min(1).default([128, 128]).describe('Widths of the hidden layers'),
  activation: z
    .enum(['elu', 'relu', 'tanh'])
    .default('elu')
    .describe('Activation function of the hidden layers'),
  layerNorm: z
    .boolean()
    .default(true)
    .describe(
      'Whether the first layer is followed by layer normalization and tanh, which keep inputs of any scale in range',
    ),
  residual: z
    .boolean()
    .default(false)
    .describe(
      'Whether `hidden` lists residual blocks with layer normalization (SimBa), all of one width, in place of plain layers',
    ),
};

const weightDecay = z
  .number()
  .min(0)
  .max(1)
  .default(0)
  .describe('Decoupled weight decay: each step multiplies the weights by 1 − learning rate · this');

export const policySchema = z
  .strictObject({
    head: z
      .enum(['auto', 'gaussian', 'categorical'])
      .default('auto')
      .describe(
        'The distribution of actions. gaussian: diagonal Gaussian; categorical: one categorical for each action dimension, over the values of an integer action or over equal bins of a continuous one; auto: categorical if any action is an integer, else gaussian',
      ),
    ...network,
    bins: z
      .int()
      .min(2)
      .max(1001)
      .default(11)
      .describe('Bins of each continuous action dimension (categorical head)'),
    uniformShare: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.02)
      .describe(
        'Share of the uniform distribution in the policy, which keeps every action possible (categorical head)',
      ),
    minStddev: z
      .number()
      .positive()
      .default(0.05)
      .describe('Lower bound of the standard deviation (Gaussian head)'),
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
    head: z
      .enum(['scalar', 'categorical'])
      .default('scalar')
      .describe(
        'What a critic says. scalar: the value, learned by the squared error; categorical: a histogram of the value, learned by the cross-entropy with smoothed targets (HL-Gauss)',
      ),
    bins: z.int().min(11).max(1001).default(101).describe('Bins of the histogram (categorical head)'),
    ensemble: count.max(16).default(2).describe('Number of critics'),
    aggregate: z
      .enum(['min', 'mean'])
      .default('mean')
      .describe('How the values of the ensemble are combined into one'),
    learningRate: rate.default(1e-3).describe('Learning rate of Adam for the critics'),
    weightDecay,
    normalizeTargets: z
      .boolean()
      .default(true)
      .describe(
        'Whether critics learn targets less their running mean, divided by their running standard deviation, so that rewards of any scale are learned alike',
      ),
    target: z
      .union([z.strictObject({ period: count }), z.strictObject({ rate })])
      .prefault({ period: 50 })
      .describe(
        'Target critics: a copy every `period` updates, or an exponential moving average with `rate`',
      ),
  })
  .describe('The critic Q(x, y), which evaluates the samples');

/**
 * The settings of an update, the same for control and offline jobs.
 * @param decayLimit what the description of `decayFrom` adds.
 */
export function updateKeys(decayLimit: string) {
  return {
    normalizeObservations: z
      .boolean()
      .default(true)
      .describe(
        'Whether the networks see observations less their running mean, divided by their running standard deviation',
      ),
    learningRate: rate.default(3e-4).describe('Learning rate of Adam for the policy'),
    weightDecay,
    stateLearningRate: stateLearningRateSchema,
    decayFrom: z
      .number()
      .min(0)
      .max(1)
      .default(0.5)
      .describe(
        `Fraction of the run after which the learning rates of policy and critics decay linearly, to a twentieth at the end${decayLimit}; 1: no decay`,
      ),
    maxGradientNorm: z
      .number()
      .positive()
      .default(40)
      .describe(
        'The largest global norm of the gradients of the policy, and of those of the critics; larger gradients are scaled down to it',
      ),
    discount: z.number().min(0).max(1).default(0.99).describe('γ, the discount of future rewards'),
  };
}

const learnerSchema = z
  .strictObject({
    environmentSteps: count
      .default(100_000)
      .describe(
        'Total number of environment steps, over all environments and actors; a repeated action counts as the simulator steps for which it was held',
      ),
    warmupSteps: z
      .int()
      .min(0)
      .default(1_000)
      .describe('Environment steps with random actions before the first update'),
    explorationCorrelation: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe(
        "Correlation of the exploration noise between consecutive steps (0: white noise); default: 0.8 for continuous actions, 0 for integer ones. It affects acting only, and keeps the policy's distribution at each step",
      ),
    explorationSwing: z
      .number()
      .min(1)
      .max(100_000)
      .optional()
      .describe(
        'T of exploration noise that swings, in steps, in place of explorationCorrelation: about T steps after a push it begins to push back, so that the sum of all pushes does not grow with time. Try 20 if something that has no limits, such as an angle that counts its turns, drifts away while the policy explores. It affects acting only',
      ),
    explorationEpsilon: z
      .number()
      .min(0)
      .lt(1)
      .optional()
      .describe(
        'ε of the first of the K environments: the share of steps whose actions are random. Integers are chosen anew at each such step; their ε falls from each environment to the next, to ε^8 in the last (Ape-X, arXiv 1803.00933; a single environment has ε^4.5), and in the steps after the warm-up, three times as many as it has, it falls to that from 1. Continuous actions are held, most of them for a step or two, and some for up to 100 steps (εz-greedy, arXiv 2006.01782); their ε falls to ε^2 in the last environment (a single one has ε^1.5). Default: 0.4 for integers, 0 for continuous actions; try 0.4 if a policy comes to rest without reward. It affects acting only',
      ),
    stepsPerUpdate: count
      .default(1)
      .describe('Environment steps per update; 2 halves the time of a run, which then needs more steps'),
    batchSize: count.max(65_536).default(128).describe('B, contexts per batch'),
    samples: count.max(1024).optional().describe("N, samples per context; default: the operator's own"),
    allActionsUpTo: z
      .int()
      .min(0)
      .max(1024)
      .default(32)
      .describe(
        'If there are no more distinct actions than this, each one is evaluated, weighted by its probability, in place of N samples',
      ),
    ...updateKeys(', but not before 1,000 updates'),
  })
  .describe('How the policy and the critics are trained');

/** Where to find a secret. A configuration never contains the secret itself, because it is copied to the run's folder. */
const secretSchema = z.union([
  z.strictObject({ file: z.string().min(1) }).describe('In a file; a line break at its end is ignored'),
  z.strictObject({ environmentVariable: z.string().min(1) }).describe('In an environment variable'),
]);

const replaySchema = z
  .strictObject({
    capacity: count
      .default(1_000_000)
      .describe('Number of transitions kept; the oldest ones are overwritten'),
    nStep: count
      .max(100)
      .optional()
      .describe(
        'n, the number of steps of an n-step return; default: 5 for continuous actions, 1 if any action is an integer',
      ),
    redis: z
      .string()
      .regex(
        /^rediss?:\/\/[^\s/]+(\/\d+)?$/,
        'redis://host:port, or rediss://host:port for TLS, with /number for a database',
      )
      .optional()
      .describe(
        'redis://host:port of a Redis server through which actors (`npx pmpo act`) send transitions to this learner; default: the learner acts in its own process',
      ),
    redisPassword: secretSchema.optional().describe('Where to find the password of Redis'),
    redisTls: z
      .strictObject({
        ca: z.string().optional().describe("Certificates of trusted authorities; default: the system's"),
        certificate: z.string().optional().describe('Client certificate, if Redis requires one'),
        key: z.string().optional().describe('Private key of the client certificate'),
        serverName: z
          .string()
          .optional()
          .describe("The name in Redis's certificate, if it is not the host name"),
      })
      .optional()
      .describe('PEM files for rediss:// (TLS)'),
    name: slug.optional().describe("The name by which actors find the run in Redis; default: the run's name"),
    samplesPerInsert: z
      .number()
      .positive()
      .optional()
      .describe(
        'How often each transition from Redis is sampled for training, on average; default: learner.batchSize / learner.stepsPerUpdate',
      ),
    errorBuffer: z
      .number()
      .positive()
      .optional()
      .describe(
        'Number of samples by which the learner or the actors may deviate from samplesPerInsert before one waits for the other; default: a tenth of samplesPerInsert times learner.warmupSteps',
      ),
    publishEvery: count
      .default(20)
      .describe('Updates between two policies that are published to actors in Redis'),
    discard: z
      .boolean()
      .default(false)
      .describe('Whether a new run deletes an unfinished run of the same name in Redis'),
  })
  .describe('The replay buffer');

/** The settings of an evaluation in simulators, the same for control and offline jobs. */
export const evaluationKeys = {
  episodes: count
    .max(1000)
    .default(10)
    .describe('Episodes per evaluation, played with the mode of the policy'),
  maxEpisodeSteps: count
    .default(100_000)
    .describe('Environment steps after which an episode of an evaluation is cut, with a notice'),
};

const evaluationSchema = z
  .strictObject({
    every: count.default(10_000).describe('Environment steps between two evaluations'),
    ...evaluationKeys,
  })
  .describe('When and how the policy is evaluated');

const checkpointSchema = z
  .strictObject({
    every: count.default(25_000).describe('Environment steps between two checkpoints'),
    keep: count.default(2).describe('Number of checkpoints kept'),
  })
  .describe('Checkpoints, from which a stopped run resumes');

/** The schema of a control job's configuration, for the registered operators and classifiers. */
export function configSchema(registries: Registries) {
  const { output, seed, plugins, operator, feedback } = sharedKeys(registries, 'value-baseline');
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

/** The addresses of the servers of a configuration; none if the embedded server is used. */
export function addressesOf({ address = [] }: Pick<Config['environment'], 'address'>): readonly string[] {
  return typeof address === 'string' ? [address] : address;
}
