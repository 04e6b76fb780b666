import { PmpoError } from '../core/errors.js';
import type {
  ModelInferRequestInferInputTensor as InputTensor,
  ModelMetadataResponse,
  ModelMetadataResponseTensorMetadata as TensorMetadata,
} from '../generated/open-inference.js';

/**
 * How samples are laid out as a model's inputs, found from what the model says of itself. Letters: N samples of a batch, T
 * tokens of the longest.
 */

export type Samples = readonly string[] | readonly Int32Array[];

export interface InputLayout {
  readonly takes: 'texts' | 'tokens';
  /** Most samples of a batch. */
  readonly batchSize: number;
  /** Batches of samples that go together: indices into them. @throws PmpoError for samples of the wrong kind, and empty ones. */
  batches(samples: Samples): readonly (readonly number[])[];
  /** The tensors of a batch. */
  tensors(samples: Samples, batch: readonly number[]): readonly InputTensor[];
}

interface Naming {
  /** The model, and where it is. */
  readonly where: string;
  /** The input that takes the samples, where it is not clear. */
  readonly input?: string;
  readonly batchSize: number;
  /** What fills up token lists that are shorter than others. */
  readonly padToken: number;
}

const tokenTypes = ['INT64', 'INT32'];

/** Other inputs of models that take tokens. */
const companions = ['attention_mask', 'token_type_ids'];

const described = ({ name, datatype, shape = [] }: TensorMetadata) =>
  `${name} (${datatype}, [${shape.join(', ')}])`;

const listed = (tensors: readonly TensorMetadata[]) => tensors.map(described).join(', ') || 'none';

/** @throws PmpoError when the model takes neither texts nor tokens, or something beside them. */
export function inputLayout({ inputs = [] }: ModelMetadataResponse, naming: Naming): InputLayout {
  const { where, input } = naming;
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
          ? `which of its inputs takes the samples? It has ${listed(inputs)}`
          : `it has no input '${input}'. It has ${listed(inputs)}`,
      remedy:
        inputs.length === 0
          ? "Declare the model's inputs and outputs at the server (MLServer: in model-settings.json)"
          : 'The model must take one input of texts (BYTES) or of tokens (INT64 or INT32), beside attention_mask',
    });
  }
  const others = inputs.filter((tensor) => tensor !== found);
  const stranger = others.find(
    ({ name = '', datatype = '' }) => !(companions.includes(name) && tokenTypes.includes(datatype)),
  );
  const { datatype = '', shape = [] } = found;
  const isText = datatype === 'BYTES';
  const fits = isText
    ? shape.length === 1 || (shape.length === 2 && Math.abs(shape[1] ?? 0) === 1)
    : tokenTypes.includes(datatype) && shape.length === 2;
  if (stranger !== undefined || !fits || (isText && others.length > 0)) {
    throw new PmpoError({
      where,
      what: `it takes ${listed(inputs)}`,
      remedy:
        'It must take texts (BYTES of the shape [-1] or [-1, 1]) or tokens (INT64 or INT32 of the shape [-1, -1], beside attention_mask and token_type_ids at most)',
    });
  }
  const fixed = shape[0] ?? -1;
  if (fixed > 1) {
    throw new PmpoError({
      where,
      what: `it takes batches of ${fixed} and no others`,
      remedy: 'Serve it with batches of any size (-1), or of 1',
    });
  }
  const batchSize = fixed === 1 ? 1 : naming.batchSize;
  return isText
    ? textLayout(found, batchSize, where)
    : tokenLayout(found, others, batchSize, naming.padToken, where);
}

function inOrder(count: number, batchSize: number): readonly (readonly number[])[] {
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
        throw new PmpoError({ where, what: 'it takes texts, and was given tokens' });
      }
      return inOrder(samples.length, batchSize);
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
          throw new PmpoError({ where, what: 'it takes tokens, and was given texts' });
        }
        if (sample.length === 0) throw new PmpoError({ where, what: `sample ${i} has no tokens` });
        const tooLong = width > 0 && sample.length > width;
        if (tooLong || (width > 0 && !masked && sample.length !== width)) {
          throw new PmpoError({
            where,
            what: `sample ${i} has ${sample.length} tokens, and the model takes ${width}${masked ? ' at most' : ''}`,
          });
        }
      });
      if (masked) return inOrder(samples.length, batchSize);
      // Without a mask, what fills up shorter ones would be read: only those of one length go together.
      const byLength = new Map<number, number[]>();
      samples.forEach(({ length }, i) => {
        byLength.set(length, [...(byLength.get(length) ?? []), i]);
      });
      return [...byLength.values()].flatMap((group) =>
        inOrder(group.length, batchSize).map((batch) => batch.map((i) => group[i] ?? 0)),
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
