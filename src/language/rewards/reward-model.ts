import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { addressSchema, patienceKeys, tlsSchema, tokenSchema } from '../../grpc/schema.js';
import { loadTokenizer } from '../hugging-face-tokenizer.js';
import { parseTemplate } from '../judges/template.js';
import { OpenInferenceClient } from '../open-inference-client.js';
import type { Judged, RewardDefinition } from './reward.js';

const rewardModelSettings = z.strictObject({
  address: z
    .union([addressSchema, z.array(addressSchema).min(1)])
    .describe(
      'host:port of a server of the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO), or a list of several',
    ),
  model: z.string().describe("The model's name there"),
  version: z.string().optional(),
  input: z.string().optional().describe('The input that takes the samples, where the model has several'),
  output: z.string().optional().describe('The output that holds the scores, where the model has several'),
  column: z.int().min(0).optional().describe('Which of the numbers for each sample is the score, from 0'),
  template: z
    .string()
    .default('{{prompt}}{{completion}}')
    .describe('What the model is given; {{conversation}} stands for all turns of a chat'),
  tokenizer: z
    .string()
    .optional()
    .describe('For a model that takes tokens: its tokenizer.json, or the folder that holds it'),
  padToken: z.int().min(0).optional(),
  batchSize: z.int().min(1).optional(),
  tls: tlsSchema,
  token: tokenSchema,
  deadlineSeconds: z.number().positive().optional(),
  inFlight: z.int().min(1).optional(),
  ...patienceKeys,
});

/** A model that scores texts or tokens. */
export const rewardModelDefinition: RewardDefinition<z.infer<typeof rewardModelSettings>> = {
  name: 'reward-model',
  description: 'A reward model or a classifier behind the Open Inference Protocol v2',
  settings: rewardModelSettings,
  fileSettings: ['tokenizer'],
  async open({ template: text, tokenizer: path, ...settings }, { where }) {
    const template = parseTemplate(
      text,
      `${where}.template`,
      ['completion'],
      ['prompt', 'conversation', 'completion'],
    );
    const tokenizer = path === undefined ? undefined : await loadTokenizer(path);
    const client = await OpenInferenceClient.connect({ ...settings, configKey: where });
    if ((client.takes === 'tokens') !== (tokenizer !== undefined)) {
      await client.close();
      throw new ConfigError({
        where: `${where}.tokenizer`,
        what:
          client.takes === 'tokens'
            ? `the model '${settings.model}' takes tokens`
            : `the model '${settings.model}' takes texts, and makes tokens of them itself`,
        remedy: client.takes === 'tokens' ? 'Give its tokenizer' : 'Leave the tokenizer out',
      });
    }
    return {
      async evaluate(completions: readonly Judged[], signal?: AbortSignal) {
        const texts = completions.map(({ prompt, conversation, completion }) =>
          template({ prompt, conversation, completion }),
        );
        const samples = tokenizer === undefined ? texts : texts.map((one) => tokenizer.encode(one));
        // Of nothing a model has no opinion.
        const some = samples.filter(({ length }) => length > 0);
        const scores = some.length === 0 ? [] : await client.infer(some as typeof samples, signal);
        let next = 0;
        return samples.map(({ length }) => (length > 0 ? scores[next++] : undefined));
      },
      close: () => client.close(),
    };
  },
};
