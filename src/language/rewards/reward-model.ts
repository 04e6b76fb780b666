import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { addressSchema, poolKeys } from '../../grpc/schema.js';
import { loadTokenizer } from '../hugging-face-tokenizer.js';
import { parseTemplate } from '../judges/template.js';
import { OpenInferenceClient } from '../open-inference-client.js';
import type { RewardDefinition, RewardInput } from './reward.js';

const rewardModelSettings = z.strictObject({
  address: z
    .union([addressSchema, z.array(addressSchema).min(1)])
    .describe(
      'host:port of a server of the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO), or a list of several',
    ),
  model: z.string().describe("The model's name on the server"),
  version: z.string().optional().describe("The model's version; default: the server chooses"),
  input: z.string().optional().describe('The input for the samples, if the model has several'),
  output: z.string().optional().describe('The output with the scores, if the model has several'),
  column: z.int().min(0).optional().describe('Index of the score among the numbers for each sample, from 0'),
  template: z
    .string()
    .default('{{prompt}}{{completion}}')
    .describe('The text to score; {{conversation}} is replaced by all messages of a chat'),
  tokenizer: z
    .string()
    .optional()
    .describe('For a model that takes tokens: its tokenizer.json, or the folder with that file'),
  padToken: z
    .int()
    .min(0)
    .optional()
    .describe('The token that pads shorter token lists of a batch; default: 0'),
  batchSize: z.int().min(1).optional().describe('Maximum number of samples in one call; default: 32'),
  deadlineSeconds: z.number().positive().optional().describe('Maximum duration of one call; default: 300'),
  ...poolKeys,
});

/** The reward `reward-model`: a model behind the Open Inference Protocol that scores texts or tokens. */
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
            : `the model '${settings.model}' takes texts and tokenizes them itself`,
        remedy: client.takes === 'tokens' ? 'Give its tokenizer' : 'Omit the tokenizer',
      });
    }
    return {
      async evaluate(completions: readonly RewardInput[], signal?: AbortSignal) {
        const texts = completions.map(({ prompt, conversation, completion }) =>
          template({ prompt, conversation, completion }),
        );
        const samples = tokenizer === undefined ? texts : texts.map((one) => tokenizer.encode(one));
        // An empty sample cannot be scored.
        const nonEmpty = samples.filter(({ length }) => length > 0);
        const scores = nonEmpty.length === 0 ? [] : await client.infer(nonEmpty as typeof samples, signal);
        let next = 0;
        return samples.map(({ length }) => (length > 0 ? scores[next++] : undefined));
      },
      close: () => client.close(),
    };
  },
};
