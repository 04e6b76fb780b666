import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PmpoError } from '../../core/errors.js';
import { encodeSafetensors, type SafeTensor } from '../../core/safetensors.js';
import { seal, sealOf } from '../../core/safetensors-seal.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import { checkTransformer, type TransformerConfig, transformerShapes } from '../../networks/transformer.js';
import { fileProblem, writeAtomically } from '../../system/atomic-file.js';
import { readSafetensorsFile } from '../../system/safetensors-file.js';
import { readTokenizerFiles, type TokenizerFiles } from '../tokenizer-files.js';

/**
 * Model folders in Hugging Face's format (config.json, model.safetensors, tokenizer.json, tokenizer_config.json), which
 * transformers can load and vLLM can serve.
 */

/** The contents of a model folder: the architecture, the parameters by name, and the tokenizer's files. */
export interface ModelFolder {
  readonly config: TransformerConfig;
  readonly parameters: NamedHostTensors;
  readonly tokenizerFiles: TokenizerFiles;
}

/** The part of a Llama's config.json that is used here. */
const llamaConfig = z.object({
  model_type: z.literal('llama'),
  vocab_size: z.number(),
  max_position_embeddings: z.number(),
  num_hidden_layers: z.number(),
  hidden_size: z.number(),
  num_attention_heads: z.number(),
  num_key_value_heads: z.number(),
  intermediate_size: z.number(),
  rms_norm_eps: z.number(),
  rope_theta: z.number().optional(),
  rope_parameters: z.object({ rope_theta: z.number(), rope_type: z.literal('default') }).optional(),
  tie_word_embeddings: z.literal(true),
  hidden_act: z.literal('silu'),
  attention_bias: z.literal(false).optional(),
  mlp_bias: z.literal(false).optional(),
});

function tokenId({ tokenizer, config }: TokenizerFiles, key: string): number | undefined {
  const { vocab } = tokenizer.model as { readonly vocab?: Readonly<Record<string, number>> };
  return vocab?.[config[key] as string];
}

function llamaJson(config: TransformerConfig, tokenizerFiles: TokenizerFiles): object {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: config.vocabularySize,
    max_position_embeddings: config.contextLength,
    num_hidden_layers: config.layers,
    hidden_size: config.width,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.width / config.heads,
    intermediate_size: config.hidden,
    rms_norm_eps: config.normEpsilon,
    // The first key is for transformers before version 5, the second for later versions.
    rope_theta: config.ropeTheta,
    rope_parameters: { rope_theta: config.ropeTheta, rope_type: 'default' },
    tie_word_embeddings: true,
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: tokenId(tokenizerFiles, 'bos_token'),
    eos_token_id: tokenId(tokenizerFiles, 'eos_token'),
    pad_token_id: tokenId(tokenizerFiles, 'pad_token'),
    torch_dtype: 'float32',
  };
}

/** The parts of a safetensors file of float32 tensors with a checksum, in the form that transformers expects. */
export function encodeTensors(tensors: NamedHostTensors): readonly Uint8Array[] {
  const entries = Object.entries(tensors).map(([name, { shape, data }]): [string, SafeTensor] => [
    name,
    { dtype: 'F32', shape, data: data instanceof Float32Array ? data : Float32Array.from(data) },
  ]);
  const metadata = { format: 'pt', ...sealOf };
  return seal(encodeSafetensors({ tensors: Object.fromEntries(entries), metadata }));
}

/**
 * Reads float32 tensors from a safetensors file.
 * @param shapes the expected names and shapes.
 * @param checksum whether the file is one of ours, whose checksum is checked if it has one.
 * @throws PmpoError when the file cannot be read, is damaged, or does not contain exactly these tensors.
 */
export async function readTensors(
  path: string,
  shapes: Readonly<Record<string, readonly number[]>>,
  { checksum = false }: { readonly checksum?: boolean } = {},
): Promise<NamedHostTensors> {
  const { tensors } = await readSafetensorsFile(path, { checksum });
  for (const [name, shape] of Object.entries(shapes)) {
    const found = tensors[name];
    if (found === undefined) throw new PmpoError({ where: path, what: `the tensor '${name}' is missing` });
    if (found.dtype !== 'F32' || found.shape.join() !== shape.join()) {
      throw new PmpoError({
        where: path,
        what: `the tensor '${name}' is ${found.dtype} with the shape [${found.shape}]`,
        remedy: `F32 with the shape [${shape}] is needed`,
      });
    }
  }
  const unknown = Object.keys(tensors).find((name) => shapes[name] === undefined);
  if (unknown !== undefined)
    throw new PmpoError({ where: path, what: `the tensor '${unknown}' does not belong to the model` });
  return Object.fromEntries(
    Object.keys(shapes).map((name) => [
      name,
      { shape: shapes[name]!, data: tensors[name].data as Float32Array },
    ]),
  );
}

/** Writes the files of a model into a folder, each file atomically. */
export async function writeModelFiles(folder: string, model: ModelFolder): Promise<void> {
  const { config, parameters, tokenizerFiles } = model;
  const json = (value: object) => `${JSON.stringify(value, undefined, 2)}\n`;
  await mkdir(folder, { recursive: true });
  await writeAtomically(join(folder, 'model.safetensors'), encodeTensors(parameters));
  await writeAtomically(join(folder, 'tokenizer.json'), json(tokenizerFiles.tokenizer));
  await writeAtomically(join(folder, 'tokenizer_config.json'), json(tokenizerFiles.config));
  await writeAtomically(join(folder, 'config.json'), json(llamaJson(config, tokenizerFiles)));
}

/**
 * Replaces a folder as a whole: `fill` writes the files of the new folder, which then takes the place of the old one. If the
 * program ends in between, `lastWholeFolder` finds the old folder or the new one.
 */
export async function replaceFolder(folder: string, fill: (aside: string) => Promise<void>): Promise<void> {
  const [aside, before] = [`${folder}.partial`, `${folder}.before`];
  try {
    await rm(aside, { recursive: true, force: true });
    await mkdir(aside, { recursive: true });
    await fill(aside);
    await rm(before, { recursive: true, force: true });
    if (await exists(folder)) await rename(folder, before);
    await rename(aside, folder);
    await rm(before, { recursive: true, force: true });
  } catch (cause) {
    throw fileProblem(folder, 'writing', cause);
  }
}

/** The folder, or the one it should have replaced if the program ended between the two renames of `replaceFolder`. */
export async function lastWholeFolder(folder: string): Promise<string> {
  const before = `${folder}.before`;
  return !(await exists(folder)) && (await exists(before)) ? before : folder;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/**
 * Reads a model that this package can run: a Llama with tied embeddings in float32.
 * @param options see `readTensors`.
 * @throws PmpoError when a file is missing or damaged, or the model is of another kind.
 */
export async function readModelFolder(
  folder: string,
  options: { readonly checksum?: boolean } = {},
): Promise<ModelFolder> {
  const path = join(folder, 'config.json');
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw fileProblem(path, 'reading', cause);
  });
  const config = transformerConfig(text, path);
  return {
    config,
    parameters: await readTensors(join(folder, 'model.safetensors'), transformerShapes(config), options),
    tokenizerFiles: await readTokenizerFiles(folder),
  };
}

function transformerConfig(text: string, path: string): TransformerConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new PmpoError({ where: path, what: `is not JSON: ${(cause as Error).message}`, cause });
  }
  const parsed = llamaConfig.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new PmpoError({
      where: `${path}: ${issue?.path.join('.')}`,
      what: `${issue?.message}`,
      remedy:
        'The embedded model must be a Llama with tied embeddings; train other models with the torch trainer',
    });
  }
  const { data } = parsed;
  const config: TransformerConfig = {
    vocabularySize: data.vocab_size,
    contextLength: data.max_position_embeddings,
    layers: data.num_hidden_layers,
    width: data.hidden_size,
    heads: data.num_attention_heads,
    keyValueHeads: data.num_key_value_heads,
    hidden: data.intermediate_size,
    ropeTheta: data.rope_parameters?.rope_theta ?? data.rope_theta ?? 10_000,
    normEpsilon: data.rms_norm_eps,
  };
  checkTransformer(config);
  return config;
}
