import { PmpoError } from '../core/errors.js';
import { fillIntegers, type RandomKey } from '../core/random-keys.js';
import type { HostTensor, StoredTensor } from '../engine/tensors.js';
import { bytesPerTransition, ObservationPacking, type TransitionShape } from './transition-shape.js';

/** The replay memory. Shapes: B batch, O observation size, A action dimensions; F and U as in transition-shape.ts. */

/** The arrays of a block of transitions: observations as float32 and as bytes, actions, returns, discounts. */
interface Block {
  readonly observations: Float32Array;
  readonly observationBytes: Uint8Array;
  readonly actions: Float32Array;
  readonly returns: Float32Array;
  readonly discounts: Float32Array;
  readonly nextObservations: Float32Array;
  readonly nextObservationBytes: Uint8Array;
}
type Field = keyof Block;

/** A batch of transitions, as inputs of compiled functions. */
export type TransitionBatch = Readonly<
  Record<
    'observations' | 'actions' | 'returns' | 'discounts' | 'nextObservations',
    HostTensor & { readonly data: Float32Array }
  >
>;

/** A block has so many transitions, or so many bytes, at most. */
const blockLimits = { rows: 16_384, bytes: 2 ** 26 };

/** Transitions up to a capacity, after which the oldest are overwritten. The memory for them is taken block by block. */
export class TransitionStore {
  readonly #capacity: number;
  readonly #shape: TransitionShape;
  readonly #packing: ObservationPacking;
  readonly #widths: Readonly<Record<Field, number>>;
  readonly #rowsPerBlock: number;
  #blocks: Block[] = [];
  #size = 0;
  #next = 0;

  constructor(capacity: number, shape: TransitionShape) {
    this.#capacity = capacity;
    this.#shape = shape;
    const packing = new ObservationPacking(shape);
    this.#packing = packing;
    this.#widths = {
      observations: packing.floats,
      observationBytes: packing.bytes,
      actions: shape.actionSize,
      returns: 1,
      discounts: 1,
      nextObservations: packing.floats,
      nextObservationBytes: packing.bytes,
    };
    const fitting = Math.floor(blockLimits.bytes / bytesPerTransition(shape));
    this.#rowsPerBlock = Math.max(1, Math.min(blockLimits.rows, fitting));
  }

  /** Number of transitions held. */
  get size(): number {
    return this.#size;
  }

  /** The block of a row, which is created if need be, and the row's place in it. */
  #locate(row: number): { readonly block: Block; readonly at: number } {
    const index = Math.floor(row / this.#rowsPerBlock);
    const at = row - index * this.#rowsPerBlock;
    let block = this.#blocks[index];
    if (block === undefined) {
      const rows = Math.min(this.#rowsPerBlock, this.#capacity - index * this.#rowsPerBlock);
      const floats = (field: Field) => new Float32Array(rows * this.#widths[field]);
      block = {
        observations: floats('observations'),
        observationBytes: new Uint8Array(rows * this.#widths.observationBytes),
        actions: floats('actions'),
        returns: floats('returns'),
        discounts: floats('discounts'),
        nextObservations: floats('nextObservations'),
        nextObservationBytes: new Uint8Array(rows * this.#widths.nextObservationBytes),
      };
      this.#blocks[index] = block;
    }
    return { block, at };
  }

  /** Adds one transition, which replaces the oldest if the store is full. The arrays are copied. */
  add(
    observation: Float32Array,
    action: Float32Array,
    nStepReturn: number,
    discount: number,
    nextObservation: Float32Array,
  ): void {
    const { block, at } = this.#locate(this.#next);
    const { floats, bytes } = this.#packing;
    this.#packing.pack(observation, block.observations, at * floats, block.observationBytes, at * bytes);
    block.actions.set(action, at * this.#shape.actionSize);
    block.returns[at] = nStepReturn;
    block.discounts[at] = discount;
    this.#packing.pack(
      nextObservation,
      block.nextObservations,
      at * floats,
      block.nextObservationBytes,
      at * bytes,
    );
    this.#next = (this.#next + 1) % this.#capacity;
    this.#size = Math.min(this.#size + 1, this.#capacity);
  }

  /** Draws B transitions uniformly with replacement, as new arrays. @throws PmpoError when the store is empty. */
  sample(key: RandomKey, batchSize: number): TransitionBatch {
    if (this.#size === 0)
      throw new PmpoError({ where: 'replay', what: 'no batch can be drawn from an empty replay' });
    const rows = fillIntegers(key, this.#size, new Uint32Array(batchSize));
    const { observationSize: o, actionSize: a } = this.#shape;
    const { floats, bytes } = this.#packing;
    const observations = new Float32Array(batchSize * o);
    const actions = new Float32Array(batchSize * a);
    const returns = new Float32Array(batchSize);
    const discounts = new Float32Array(batchSize);
    const nextObservations = new Float32Array(batchSize * o);
    for (let i = 0; i < batchSize; i++) {
      const { block, at } = this.#locate(rows[i]);
      const [floatsAt, bytesAt] = [at * floats, at * bytes];
      this.#packing.unpack(
        block.observations,
        floatsAt,
        block.observationBytes,
        bytesAt,
        observations,
        i * o,
      );
      for (let j = 0; j < a; j++) actions[i * a + j] = block.actions[at * a + j];
      returns[i] = block.returns[at];
      discounts[i] = block.discounts[at];
      this.#packing.unpack(
        block.nextObservations,
        floatsAt,
        block.nextObservationBytes,
        bytesAt,
        nextObservations,
        i * o,
      );
    }
    return {
      observations: { shape: [batchSize, o], data: observations },
      actions: { shape: [batchSize, a], data: actions },
      returns: { shape: [batchSize], data: returns },
      discounts: { shape: [batchSize], data: discounts },
      nextObservations: { shape: [batchSize, o], data: nextObservations },
    };
  }

  /** The fields that have any numbers. */
  get #fields(): readonly Field[] {
    return (Object.keys(this.#widths) as Field[]).filter((field) => this.#widths[field] > 0);
  }

  /**
   * All transitions, for a checkpoint: a tensor for each field and block, of which the first block's have the plain names of the
   * fields. They are views of the store, and so mean this until the next `add`.
   */
  snapshot(): Readonly<Record<string, StoredTensor>> {
    const tensors: Record<string, StoredTensor> = {
      position: { shape: [1], data: Int32Array.of(this.#next) },
    };
    for (const [index, block] of this.#blocks.entries()) {
      const rows = Math.min(this.#rowsPerBlock, this.#size - index * this.#rowsPerBlock);
      for (const field of this.#fields) {
        const width = this.#widths[field];
        const data = block[field].subarray(0, rows * width);
        tensors[blockName(field, index)] = { shape: [rows, width], data };
      }
    }
    // An empty store has the fields too, so that a checkpoint shows its form.
    if (this.#blocks.length > 0) return tensors;
    for (const field of this.#fields) {
      const data = field.endsWith('Bytes') ? new Uint8Array() : new Float32Array();
      tensors[field] = { shape: [0, this.#widths[field]], data };
    }
    return tensors;
  }

  /**
   * Restores a snapshot, of a store of this capacity or a smaller one.
   * @throws PmpoError when its shapes do not fit this store.
   */
  restore(snapshot: Readonly<Record<string, StoredTensor>>): void {
    const parts = this.#fields.map((field) => ({ field, tensors: this.#tensorsOf(field, snapshot) }));
    const size = parts[0].tensors.reduce((sum, { shape }) => sum + shape[0], 0);
    for (const { field, tensors } of parts) {
      const rows = tensors.reduce((sum, { shape }) => sum + shape[0], 0);
      if (rows === size && size <= this.#capacity) continue;
      throw misfit(field, `there are ${rows} rows, which do not fit this configuration`, this.#capacity);
    }
    const position = snapshot.position.data[0];
    // In a larger store, the oldest transition moves to the front, so that it is the first to be overwritten again.
    const shift = size < this.#capacity && size > 0 ? position % size : 0;
    this.#blocks = [];
    for (const { field, tensors } of parts) {
      const width = this.#widths[field];
      let row = 0;
      for (const { shape, data } of tensors) {
        for (let i = 0; i < shape[0]; i++, row++) {
          const { block, at } = this.#locate((row - shift + size) % size);
          block[field].set(data.subarray(i * width, (i + 1) * width), at * width);
        }
      }
    }
    this.#size = size;
    this.#next = size < this.#capacity ? size : position;
  }

  /** The tensors of one field in a snapshot. */
  #tensorsOf(field: Field, snapshot: Readonly<Record<string, StoredTensor>>): StoredTensor[] {
    const tensors: StoredTensor[] = [];
    for (let index = 0; ; index++) {
      const tensor = snapshot[blockName(field, index)];
      if (tensor === undefined && index > 0) return tensors;
      const isOfType = tensor?.data instanceof (field.endsWith('Bytes') ? Uint8Array : Float32Array);
      if (isOfType && tensor.shape.length === 2 && tensor.shape[1] === this.#widths[field]) {
        tensors.push(tensor);
        continue;
      }
      const found =
        tensor === undefined ? 'it is missing' : `the shape is [${tensor.shape}], which does not fit`;
      throw misfit(field, `${found} this configuration ([…, ${this.#widths[field]}])`, this.#capacity);
    }
  }
}

const blockName = (field: Field, index: number): string => (index === 0 ? field : `${field}/${index}`);

function misfit(field: Field, what: string, capacity: number): PmpoError {
  return new PmpoError({
    where: `checkpoint, replay/${field}`,
    what: `${what}, for a capacity of ${capacity}`,
    remedy: 'Resume with the configuration that the run was started with',
  });
}
