import { join } from 'node:path';
import { PmpoError } from '../../core/errors.js';
import { foldIn, type RandomKey } from '../../core/random-keys.js';
import { sizeOf } from '../../core/shape.js';
import type { Engine } from '../../engine/engine.js';
import type { NamedHostTensors, NamedVariables, Scalar } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { copyVariables } from '../../engine/variables.js';
import { transformerShapes } from '../../networks/transformer.js';
import { writeAtomically } from '../../system/atomic-file.js';
import { HuggingFaceTokenizer } from '../hugging-face-tokenizer.js';
import type { LanguageModel } from '../language-model.js';
import type { TrainableModel, TrainableModelInfo } from '../trainable-model.js';
import { createDecoder } from './decoder.js';
import {
  encodeTensors,
  lastWholeFolder,
  type ModelFolder,
  readModelFolder,
  readTensors,
  replaceFolder,
  writeModelFiles,
} from './model-folder.js';
import { createVariables } from './pretraining.js';
import { Scheduler } from './scheduler.js';
import { serveModel } from './server.js';
import { createTraining } from './training.js';

/** The base model of `createEmbeddedModel`, and the address and limits of its server. */
export interface EmbeddedModelOptions {
  /** The engine that everything runs on; `close` does not dispose of it. */
  readonly engine: Engine;
  /** The base model: the initial weights of policy, reference and published model. */
  readonly base: ModelFolder;
  readonly name: string;
  /** The random key of completions whose request has no seed. */
  readonly key: RandomKey;
  /** Connects to the server at an address; the result becomes `sampler`. */
  readonly connect: (address: string) => Promise<LanguageModel>;
  /** host:port or unix:/path to listen on. Default: a free port of 127.0.0.1. */
  readonly address?: string;
  /** The maximum number of completions sampled at once; others wait. Default: 32. */
  readonly slots?: number;
}

/** An embedded model and its address. */
export interface EmbeddedModel extends TrainableModel {
  /** host:port or unix:/path. */
  readonly address: string;
}

const defaultSlots = 32;

/**
 * Creates a small transformer that is trained in this process and served by it with vLLM's protocol. It has three sets of
 * parameters: the policy, the reference, and the published ones. Weights are published between completions, so that each
 * completion is sampled with one set.
 *
 * @throws PmpoError when the server cannot listen on the address, or the tokenizer has more tokens than the model.
 */
export async function createEmbeddedModel(options: EmbeddedModelOptions): Promise<EmbeddedModel> {
  const { engine, base, name, key, slots = defaultSlots } = options;
  const { config, tokenizerFiles } = base;
  const tokenizer = new HuggingFaceTokenizer(tokenizerFiles);
  if (tokenizer.vocabularySize > config.vocabularySize) {
    throw new PmpoError({
      where: name,
      what: `the tokenizer has ${tokenizer.vocabularySize} tokens, the model has ${config.vocabularySize}`,
      remedy: 'Use the tokenizer that the model was trained with',
    });
  }
  const [policy, reference, published] = ['policy', 'reference', 'published'].map((set) =>
    createVariables(engine, set, base.parameters),
  ) as [NamedVariables, NamedVariables, NamedVariables];
  const training = createTraining(engine, config, { policy, reference });
  const scheduler = new Scheduler({
    decoder: createDecoder(engine, published, config, slots),
    contextLength: config.contextLength,
    vocabularySize: config.vocabularySize,
    decode: (tokens) => tokenizer.decode(tokens),
  });
  const copy = (label: string, from: NamedVariables, to: NamedVariables) =>
    engine.jit(label, () => {
      copyVariables(from, to);
      return {};
    });
  const copies = {
    reference: copy('publish reference', reference, published),
    policy: copy('publish policy', policy, published),
    policyToReference: copy('copy reference', policy, reference),
  };
  const moveReference = engine.jit('move reference', ({ rate }: { rate: Scalar }) => {
    for (const [key, variable] of Object.entries(reference)) {
      variable.assign(tf.add(variable, tf.mul(tf.sub(policy[key]!, variable), rate)));
    }
    return {};
  });
  const { endToken, beginToken = endToken ?? 0 } = tokenizer;
  const padName = tokenizerFiles.config.pad_token;
  const server = await serveModel({
    scheduler,
    name,
    key: foldIn(key, 'requests'),
    contextLength: config.contextLength,
    vocabularySize: config.vocabularySize,
    endTokens: endToken === undefined ? [] : [endToken],
    beginToken,
    padToken:
      typeof padName === 'string' ? (tokenizer.encode(padName, { special: true, begin: false })[0] ?? 0) : 0,
    tokenizer,
    tokenizerFiles,
    address: options.address,
  });
  let sampler: LanguageModel;
  try {
    sampler = await options.connect(server.address);
  } catch (error) {
    await server.close();
    throw error;
  }
  let steps = 0;

  const valuesOf = async (variables: NamedVariables): Promise<NamedHostTensors> => {
    const names = Object.keys(variables);
    const values = await engine.read(names.map((entry) => variables[entry]!));
    return Object.fromEntries(names.map((entry, i) => [entry, values[i]!]));
  };
  const setAll = async (variables: NamedVariables, values: NamedHostTensors): Promise<void> => {
    await Promise.all(Object.keys(variables).map((entry) => engine.write(variables[entry]!, values[entry]!)));
  };

  return {
    address: server.address,
    sampler,
    get info(): TrainableModelInfo {
      return {
        name,
        vocabularySize: config.vocabularySize,
        contextLength: config.contextLength,
        vocabularyHash: tokenizer.vocabularyHash,
        trainableParameters: Object.values(transformerShapes(config)).reduce(
          (sum, shape) => sum + sizeOf(shape),
          0,
        ),
        steps,
      };
    },
    score: (sequences, parts) => training.score(sequences, parts),
    forwardBackward: (sequences, coefficients) => training.forwardBackward(sequences, coefficients),
    async optimStep({ learningRate, maxGradientNorm }) {
      const result = await training.optimStep(learningRate, maxGradientNorm);
      steps += 1;
      return result;
    },
    async copyReference(rate) {
      if (rate === undefined || rate === 1) await copies.policyToReference.run({});
      else await moveReference.run({ rate: { shape: [], data: Float32Array.of(rate) } });
    },
    publish: (which) =>
      scheduler.exclusive(async () => {
        await copies[which].run({});
      }),
    async exportPolicy(folder) {
      const parameters = await valuesOf(policy);
      await replaceFolder(folder, (aside) => writeModelFiles(aside, { config, tokenizerFiles, parameters }));
    },
    async save(folder) {
      const [policyValues, referenceValues, slotValues] = await Promise.all(
        [policy, reference, training.slots].map(valuesOf),
      );
      await replaceFolder(folder, async (aside) => {
        const model = { config, tokenizerFiles };
        await writeModelFiles(join(aside, 'policy'), { ...model, parameters: policyValues! });
        await writeModelFiles(join(aside, 'reference'), { ...model, parameters: referenceValues! });
        await writeAtomically(join(aside, optimizerFile), encodeTensors(slotValues!));
      });
    },
    async load(folder) {
      const whole = await lastWholeFolder(folder);
      const shapes = Object.fromEntries(
        Object.entries(training.slots).map(([slot, variable]) => [slot, variable.shape]),
      );
      // Everything is read before anything is changed, so that a broken checkpoint changes nothing.
      const own = { checksum: true };
      const policyModel = await readModelFolder(join(whole, 'policy'), own);
      const referenceModel = await readModelFolder(join(whole, 'reference'), own);
      const slotValues = await readTensors(join(whole, optimizerFile), shapes, own);
      for (const model of [policyModel, referenceModel]) {
        if (JSON.stringify(model.config) === JSON.stringify(config)) continue;
        throw new PmpoError({
          where: whole,
          what: `it holds a model with another configuration: ${JSON.stringify(model.config)}`,
          remedy: `The configuration of this model is ${JSON.stringify(config)}`,
        });
      }
      await scheduler.exclusive(async () => {
        await setAll(policy, policyModel.parameters);
        await setAll(reference, referenceModel.parameters);
        await setAll(published, referenceModel.parameters);
        await setAll(training.slots, slotValues);
      });
      steps = Object.entries(slotValues).find(([slot]) => slot.endsWith('/step'))![1].data[0]!;
    },
    async reset() {
      const zeros = Object.entries(training.slots).map(([slot, { shape }]) => [
        slot,
        { shape, data: new Float32Array(sizeOf(shape)) },
      ]);
      await scheduler.exclusive(async () => {
        for (const set of [policy, reference, published]) await setAll(set, base.parameters);
        await setAll(training.slots, Object.fromEntries(zeros));
      });
      steps = 0;
    },
    async close() {
      await sampler.close();
      await scheduler.close();
      await server.close();
    },
  };
}

const optimizerFile = 'optimizer.safetensors';
