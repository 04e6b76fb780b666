import { z } from 'zod';
import type { Registry } from '../core/registry.js';
import { addressSchema, patienceKeys, tlsSchema, tokenSchema } from '../grpc/schema.js';
import type { RewardDefinition } from '../language/rewards/reward.js';
import {
  count,
  engineSchema,
  namedSettings,
  type Registries,
  rate,
  referenceSchema,
  seconds,
  sharedKeys,
  slug,
  stateLearningRateSchema,
  threadsSchema,
} from './schema-parts.js';

/** Every setting of a language job, its default and its meaning; schema.ts has those of control jobs. */

/** How a server is reached. */
const connectionKeys = {
  tls: tlsSchema,
  token: tokenSchema,
  deadlineSeconds: seconds.default(300).describe('How long one call may take'),
  ...patienceKeys,
};

const samplerSchema = z
  .strictObject({
    address: z
      .union([addressSchema, z.array(addressSchema).min(1)])
      .describe(
        'host:port of a server that speaks vLLM’s gRPC protocol, or a list among which requests are shared out',
      ),
    ...connectionKeys,
    inFlight: count.default(16).describe('Requests under way at once at each address'),
    tokenizer: z
      .string()
      .optional()
      .describe('tokenizer.json, or the folder that holds it; default: the server is asked for it'),
    publish: z
      .strictObject({
        folder: z.string().describe('Where the trainer writes new weights, below its own `--folder`'),
        command: z
          .array(z.string())
          .min(1)
          .describe(
            'A program and its arguments, run where the job was started, that make the server load them; {folder} stands for where they are. Sampling goes on when it has ended',
          ),
        deadlineSeconds: seconds.default(600).describe('How long the command may take'),
      })
      .optional()
      .describe('How new weights reach the server; not needed while the reference stays as it was'),
  })
  .describe('A server elsewhere that samples; default: the one that comes with the model');

const embeddedModel = z
  .strictObject({
    name: z.literal('embedded'),
    layers: count.max(64).default(3),
    width: count.max(8192).default(128),
    heads: count.max(128).default(4),
    keyValueHeads: count.max(128).default(2).describe('Groups of heads that share keys and values'),
    hidden: count.max(65_536).default(352).describe('Width between the two layers of a block’s perceptron'),
    contextLength: count.max(65_536).default(64).describe('Prompt and completion together, in tokens'),
    vocabularySize: z.int().min(260).max(65_536).default(512).describe('Tokens, at most'),
    corpus: z
      .string()
      .optional()
      .describe(
        'A text file, one document per line, to learn to write from; default: reviews made by a small grammar',
      ),
    pretraining: z
      .strictObject({
        steps: z.int().min(0).default(700),
        batchSize: count.default(32).describe('Sequences in a batch'),
        learningRate: rate.default(3e-3),
      })
      .prefault({})
      .describe(
        'How the base model is made before the run; made once for each setting and kept in the cache',
      ),
  })
  .describe('A small transformer, trained and sampled in this program');

const trainerModel = z
  .strictObject({
    name: z.literal('trainer'),
    address: addressSchema.describe('host:port of a trainer (`pmpo serve trainer`)'),
    ...connectionKeys,
    sampler: samplerSchema.optional(),
  })
  .describe('Any Hugging Face model, in a trainer elsewhere');

const promptsSchema = z
  .strictObject({
    file: z.string().describe('JSON Lines or Parquet: one prompt in each row'),
    field: z
      .string()
      .default('prompt')
      .describe('The column that holds it: a text, or a list of chat messages'),
    chat: z
      .boolean()
      .default(false)
      .describe("Whether a text is laid out as a user's turn by the model's chat template"),
    heldOut: z
      .union([z.int().min(1), z.string()])
      .default(64)
      .describe('Rows at the end that are only evaluated on, or a file of such rows'),
  })
  .describe('What completions are asked for');

const datasetSchema = z
  .strictObject({
    file: z.string().describe('JSON Lines or Parquet, paired or not; see docs/aligning.md for the columns'),
    chat: z
      .boolean()
      .default(false)
      .describe("Whether a prompt is laid out as a user's turn by the model's chat template"),
    endToken: z
      .string()
      .optional()
      .describe("The special token that every completion ends with; default: the tokenizer's own"),
    heldOut: z
      .number()
      .min(0)
      .lt(1)
      .default(0.1)
      .describe('Share of the contexts that are only evaluated on'),
  })
  .describe('Completions and what was said of them, to learn from without sampling any');

const penalty = z.number().min(-2).max(2).default(0);

const samplingSchema = z
  .strictObject({
    maxTokens: count.default(64),
    temperature: z.number().positive().default(1),
    topP: z.number().positive().max(1).default(1),
    topK: z.int().min(0).default(0).describe('0: all'),
    minP: z
      .number()
      .min(0)
      .max(1)
      .default(0)
      .describe('Tokens with at least this share of the likeliest one’s probability; 0: all'),
    presencePenalty: penalty.describe('Taken from the logits of the tokens that a completion has already'),
    frequencyPenalty: penalty.describe('The same, for each time that it has them'),
    repetitionPenalty: z
      .number()
      .positive()
      .default(1)
      .describe(
        'Logits of tokens in prompt or completion are divided by it, negative ones multiplied; 1: not',
      ),
    stop: z.array(z.string().min(1)).default([]).describe('Texts that end a completion'),
  })
  .describe('How completions are drawn');

export type LanguageRegistries = Registries & { readonly rewards: Registry<RewardDefinition> };

/** The schema of a whole configuration file of a language job. */
export function languageConfigSchema(registries: LanguageRegistries) {
  const { output, seed, plugins, operator, feedback } = sharedKeys(registries);
  return z.strictObject({
    name: slug.optional().describe("The run's name; default: model, operator and seed"),
    output,
    seed,
    plugins,
    engine: engineSchema,
    threads: threadsSchema,
    language: z
      .strictObject({
        model: z.discriminatedUnion('name', [embeddedModel, trainerModel]).describe('The policy'),
        prompts: promptsSchema.optional(),
        sampling: samplingSchema.prefault({}),
        reward: namedSettings(registries.rewards).optional().describe('What evaluates completions'),
        dataset: datasetSchema.optional(),
        kl: z
          .enum(['exact', 'sampled'])
          .default('exact')
          .describe(
            'KL(reference ‖ policy): exact over the vocabulary at each token of the samples, or the mean of log π_ref − log π_θ over the samples',
          ),
      })
      .describe('Which model learns, and from what'),
    operator,
    feedback,
    reference: referenceSchema.prefault({ period: 10 }),
    learner: z
      .strictObject({
        updates: count.default(100).describe('Updates in all'),
        batchSize: count.max(65_536).default(16).describe('B, contexts (prompts) in a batch'),
        samples: count
          .max(1024)
          .optional()
          .describe('N, completions per context; default: what the operator prefers'),
        learningRate: rate.default(1e-4).describe("Of the policy's Adam"),
        stateLearningRate: stateLearningRateSchema,
        decayFrom: z
          .number()
          .min(0)
          .max(1)
          .default(1)
          .describe(
            'Share of the run after which the learning rate falls linearly, to a twentieth at the end; 1: never',
          ),
        maxGradientNorm: z.number().positive().default(1).describe('Gradients are scaled down to this norm'),
        overlap: z
          .boolean()
          .default(true)
          .describe(
            'Whether completions of the next batch are made while this one is learned from, wherever the reference stays the same',
          ),
      })
      .prefault({})
      .describe('How completions become updates'),
    evaluation: z
      .strictObject({
        every: count
          .default(20)
          .describe('Updates between evaluations; one is made at the start and one at the end'),
        completions: count.default(1).describe('Completions of each held-out prompt'),
        text: z
          .string()
          .optional()
          .describe('A file of texts (one `text` in each row) whose perplexity is recorded as well'),
      })
      .prefault({})
      .describe('How progress is measured'),
    checkpoint: z
      .strictObject({
        every: count.default(50).describe('Updates between checkpoints'),
        keep: count.default(1).describe('Checkpoints kept'),
      })
      .prefault({})
      .describe('What a stopped run goes on from'),
  });
}

/** A language job's configuration with every default filled in. */
export type LanguageConfig = z.infer<ReturnType<typeof languageConfigSchema>>;
