import { PmpoError } from '../core/errors.js';
import type {
  ModelInferRequestInferInputTensor as InputTensor,
  ModelMetadataResponse,
  ModelMetadataResponseTensorMetadata as TensorMetadata,
} from '../generated/open-inference.js';

/** How samples become the input tensors of a model, derived from the model's metadata. */

/** Texts or token lists. */
export type Samples = readonly string[] | readonly Int32Array[];

export interface InputLayout {
  readonly takes: 'texts' | 'tokens';
  /** Maximum number of samples in a batch. */
  readonly batchSize: number;
  /** Splits samples into batches of indices. @throws PmpoError for samples of the wrong kind, and for empty token lists. */
  batches(samples: Samples): readonly (readonly number[])[];
  /** The input tensors of a batch. */
  tensors(samples: Samples, batch: readonly number[]): readonly InputTensor[];
}

interface LayoutOptions {
  /** The model and its address, for error messages. */
  readonly where: string;
  /** The input for the samples, if the model has several. */
  readonly input?: string;
  readonly batchSize: number;
  /** The token that pads shorter token lists. */
  readonly padToken: number;
}

const tokenTypes = ['INT64', 'INT32'];

/** Additional inputs that a model of tokens may have. */
const companions = ['attention_mask', 'token_type_ids'];

const described = ({ name, datatype, shape = [] }: TensorMetadata) =>
  `${name} (${datatype}, [${shape.join(', ')}])`;

const listed = (tensors: readonly TensorMetadata[]) => tensors.map(described).join(', ') || 'none';

/** The layout for a model. @throws PmpoError if the model takes neither texts nor tokens, or has other inputs as well. */
export function inputLayout({ inputs = [] }: ModelMetadataResponse, options: LayoutOptions): InputLayout {
  const { where, input } = options;
  const main =
    input === undefined
      ? inputs.filter(({ name = '' }) => inputs.length === 1 || !companions.includes(name))
      : inputs.filter(({ name }) => name === input);
  const [found] = main;
  if (found === undefined || main.length > 1) {
    throw new PmpoError({
      where,
      what:
        input === undefined
          ? `it is not clear which of its inputs takes the samples. It has ${listed(inputs)}`
          : `it has no input '${input}'. It has ${listed(inputs)}`,
      remedy:
        inputs.length === 0
          ? "Declare the model's inputs and outputs on the server (MLServer: in model-settings.json)"
          : 'The model must have one input of texts (BYTES) or tokens (INT64 or INT32); attention_mask is optional',
    });
  }
  const others = inputs.filter((tensor) => tensor !== found);
  const unexpected = others.find(
    ({ name = '', datatype = '' }) => !(companions.includes(name) && tokenTypes.includes(datatype)),
  );
  const { datatype = '', shape = [] } = found;
  const isText = datatype === 'BYTES';
  const fits = isText
    ? shape.length === 1 || (shape.length === 2 && Math.abs(shape[1] ?? 0) === 1)
    : tokenTypes.includes(datatype) && shape.length === 2;
  if (unexpected !== undefined || !fits || (isText && others.length > 0)) {
    throw new PmpoError({
      where,
      what: `it takes ${listed(inputs)}`,
      remedy:
        'It must take texts (BYTES of shape [-1] or [-1, 1]) or tokens (INT64 or INT32 of shape [-1, -1], optionally with attention_mask and token_type_ids)',
    });
  }
  const fixed = shape[0] ?? -1;
  if (fixed > 1) {
    throw new PmpoError({
      where,
      what: `it takes only batches of ${fixed}`,
      remedy: 'Serve it with a batch size of -1 (any) or 1',
    });
  }
  const batchSize = fixed === 1 ? 1 : options.batchSize;
  return isText
    ? textLayout(found, batchSize, where)
    : tokenLayout(found, others, batchSize, options.padToken, where);
}

function consecutiveBatches(count: number, batchSize: number): readonly (readonly number[])[] {
  return Array.from({ length: Math.ceil(count / batchSize) }, (_, b) =>
    Array.from({ length: Math.min(batchSize, count - b * batchSize) }, (_, i) => b * batchSize + i),
  );
}

function textLayout({ name, shape = [] }: TensorMetadata, batchSize: number, where: string): InputLayout {
  return {
    takes: 'texts',
    batchSize,
    batches(samples) {
      if (samples.some((sample) => typeof sample !== 'string')) {
        throw new PmpoError({ where, what: 'it takes texts, but got tokens' });
      }
      return consecutiveBatches(samples.length, batchSize);
    },
    tensors: (samples, batch) => [
      {
        name,
        datatype: 'BYTES',
        shape: shape.length === 1 ? [batch.length] : [batch.length, 1],
        contents: { bytesContents: batch.map((i) => Buffer.from(samples[i] as string, 'utf8')) },
      },
    ],
  };
}

function tokenLayout(
  { name, datatype = '', shape = [] }: TensorMetadata,
  others: readonly TensorMetadata[],
  batchSize: number,
  padToken: number,
  where: string,
): InputLayout {
  const masked = others.some((tensor) => tensor.name === 'attention_mask');
  const width = shape[1] ?? -1;
  const tensor = (of: TensorMetadata, rows: readonly (readonly number[])[], length: number): InputTensor => {
    const values = rows.flat();
    const type = of.datatype ?? datatype;
    return {
      name: of.name,
      datatype: type,
      shape: [rows.length, length],
      contents: type === 'INT64' ? { int64Contents: values } : { intContents: values },
    };
  };
  return {
    takes: 'tokens',
    batchSize,
    batches(samples) {
      samples.forEach((sample, i) => {
        if (typeof sample === 'string') {
          throw new PmpoError({ where, what: 'it takes tokens, but got texts' });
        }
        if (sample.length === 0) throw new PmpoError({ where, what: `sample ${i} has no tokens` });
        const tooLong = width > 0 && sample.length > width;
        if (tooLong || (width > 0 && !masked && sample.length !== width)) {
          throw new PmpoError({
            where,
            what: `sample ${i} has ${sample.length} tokens, but the model takes ${masked ? 'at most' : 'exactly'} ${width}`,
          });
        }
      });
      if (masked) return consecutiveBatches(samples.length, batchSize);
      // Without a mask the model would read the padding, so a batch has samples of one length only.
      const byLength = new Map<number, number[]>();
      samples.forEach(({ length }, i) => {
        byLength.set(length, [...(byLength.get(length) ?? []), i]);
      });
      return [...byLength.values()].flatMap((group) =>
        consecutiveBatches(group.length, batchSize).map((batch) => batch.map((i) => group[i] ?? 0)),
      );
    },
    tensors(samples, batch) {
      const rows = batch.map((i) => Array.from(samples[i] as Int32Array));
      const length = width > 0 ? width : Math.max(...rows.map((row) => row.length));
      const filled = (row: readonly number[], value: number, rest: number) =>
        Array.from({ length }, (_, t) => (t < row.length ? (row[t] ?? value) : rest));
      const companion = (of: TensorMetadata) => {
        const value = of.name === 'attention_mask' ? 1 : 0;
        return tensor(
          of,
          rows.map((row) =>
            filled(
              row.map(() => value),
              value,
              0,
            ),
          ),
          length,
        );
      };
      return [
        tensor(
          { name, datatype },
          rows.map((row) => filled(row, padToken, padToken)),
          length,
        ),
        ...others.map(companion),
      ];
    },
  };
}
