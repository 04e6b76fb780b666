import { PmpoError } from '../core/errors.js';
import { fillUniform, randomKey } from '../core/random-keys.js';
import { sizeOf } from '../core/shape.js';
import { packageVersion } from '../core/version.js';
import type { OpenCase, OpenFunction } from '../engine/onnx/open-export.js';
import { chooseBackend } from '../engine/scope.js';
import type { HostTensor, NamedTensors, Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { classifyChecked } from './checked.js';
import type { RegisteredFeedback, TensorClassifier } from './classifier.js';

/**
 * Classifiers for other people's pipelines: one of tensor operations as an ONNX graph, open in the numbers of samples and contexts. The
 * Python package `pmpo` runs such a file by ordinary PyTorch, JAX or NumPy operations. Shapes: N samples, B contexts.
 */

/** The axes behind [N, B] of the samples, and behind [B] of the contexts, for a classifier that reads them. Default: none. */
export interface PortableShapes {
  readonly sampleShape?: readonly number[];
  readonly contextShape?: readonly number[];
}

/** What the file of an exported classifier says about itself, as JSON in the ONNX metadata `pmpo.feedback`. */
export interface PortableFeedback {
  readonly format: 1;
  readonly name: string;
  readonly description: string;
  /** The version of pmpo that wrote the file. */
  readonly version: string;
  readonly provides: { readonly accepts: boolean; readonly rejects: boolean };
  /** The inputs that the graph reads. Its outputs are `accept` and `reject`, [N, B]. */
  readonly inputs: readonly { readonly name: string; readonly axes: readonly (number | string)[] }[];
  /** The settings of the export, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface ExportedFeedback {
  /** The bytes of the ONNX file. */
  readonly model: Uint8Array;
  readonly metadata: PortableFeedback;
}

export const portableFeedbackKey = 'pmpo.feedback';

/** N for which the settings' defaults are chosen. */
const usualSamples = 4;

/**
 * Exports a classifier of tensor operations. The graph is compared with the classifier itself at several lengths before it is returned.
 *
 * @param settings of the classifier; those that depend on N are filled in for `samples`, and stay as they are for every N.
 * @throws ConfigError naming each setting that is unknown or out of range.
 * @throws PmpoError if the classifier is plain code, reads a traced value, or depends on a length in a way that the graph cannot follow.
 */
export async function exportFeedback(
  definition: RegisteredFeedback,
  settings: Readonly<Record<string, unknown>> = {},
  {
    sampleShape = [],
    contextShape = [],
    samples = usualSamples,
  }: PortableShapes & { readonly samples?: number } = {},
): Promise<ExportedFeedback> {
  const { checkOpen, exportOpen } = await import('../engine/onnx/open-export.js');
  await chooseBackend();
  const { name, description } = definition;
  const values = definition.complete(settings, samples);
  const { provides, classify } = definition.create(values, samples);
  if (classify === undefined) {
    throw new PmpoError({
      where: `export of '${name}'`,
      what: 'it is plain code, of which there is no graph',
      remedy: 'Write it with tensor operations, as `classify`',
    });
  }
  const fn: OpenFunction = {
    name,
    inputs: {
      evaluation: ['N', 'B'],
      mask: ['N', 'B'],
      baseline: ['B'],
      samples: ['N', 'B', ...sampleShape],
      contexts: ['B', ...contextShape],
    },
    numbers: {},
    build: (_, lengths) => {
      // A classifier may depend on N: it is made for that of the batch, as in a run.
      const made = definition.create(values, Math.max(samples, lengths.N!)) as TensorClassifier;
      return (inputs) => weightsOf(name, made, inputs);
    },
  };
  const opened = exportOpen(fn);
  const metadata: PortableFeedback = {
    format: 1,
    name,
    description,
    version: packageVersion(),
    provides,
    inputs: opened.inputs.map(({ name: input }) => ({ name: input, axes: fn.inputs[input]! })),
    settings: values,
  };
  const model = opened.encode({ [portableFeedbackKey]: JSON.stringify(metadata) });
  for (const one of checkCases(fn)) await checkOpen(fn, opened, model, one);
  return { model, metadata };
}

function weightsOf(name: string, classifier: TensorClassifier, inputs: NamedTensors): NamedTensors {
  const { feedback } = classifyChecked(name, classifier, {
    evaluation: inputs.evaluation as Tensor2D,
    mask: inputs.mask as Tensor2D,
    baseline: inputs.baseline as Tensor1D,
    samples: inputs.samples as Tensor,
    contexts: inputs.contexts as Tensor,
  });
  // An output must not be an input itself.
  return { accept: tf.add(feedback.accept, 0), reject: tf.add(feedback.reject, 0) };
}

/** Cases in which graph and classifier are compared: few samples and contexts. */
function checkCases({ inputs }: OpenFunction): OpenCase[] {
  return [
    { N: 4, B: 1 },
    { N: 5, B: 3 },
    { N: 9, B: 4 },
  ].map((lengths, i) => {
    const tensors = Object.entries(inputs).map(([input, axes], j): [string, HostTensor] => {
      const shape = axes.map((axis) => (typeof axis === 'number' ? axis : lengths[axis as 'N' | 'B']));
      const drawn = fillUniform(randomKey(7 * i + j), new Float32Array(sizeOf(shape)));
      const data = drawn.map((x) => (input === 'mask' ? Number(x < 0.9) : 2 * x - 1));
      return [input, { shape, data }];
    });
    return { lengths, numbers: {}, values: Object.fromEntries(tensors) };
  });
}
