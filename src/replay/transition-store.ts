import { PmpoError } from '../core/errors.js';
import { fillIntegers, type RandomKey } from '../core/random-keys.js';
import type { HostTensor, NamedHostTensors } from '../engine/tensors.js';

/** The replay memory. Shapes: B batch, O observation size, A action dimensions. */

const fields = ['observations', 'actions', 'returns', 'discounts', 'nextObservations'] as const;
type Field = (typeof fields)[number];

function eachField<T>(of: (field: Field) => T): Record<Field, T> {
  return {
    observations: of('observations'),
    actions: of('actions'),
    returns: of('returns'),
    discounts: of('discounts'),
    nextObservations: of('nextObservations'),
  };
}

/** A batch of transitions, as inputs of compiled functions. */
export type TransitionBatch = Readonly<Record<Field, HostTensor & { readonly data: Float32Array }>>;

/** Transitions in flat arrays that grow up to a capacity, after which the oldest are overwritten. */
export class TransitionStore {
  readonly #capacity: number;
  readonly #widths: Readonly<Record<Field, number>>;
  #arrays: Record<Field, Float32Array>;
  #allocated: number;
  #size = 0;
  #next = 0;

  constructor(capacity: number, observationSize: number, actionSize: number) {
    this.#capacity = capacity;
    this.#widths = {
      observations: observationSize,
      actions: actionSize,
      returns: 1,
      discounts: 1,
      nextObservations: observationSize,
    };
    this.#allocated = Math.min(capacity, 16_384);
    this.#arrays = this.#allocate(this.#allocated);
  }

  #allocate(rows: number): Record<Field, Float32Array> {
    return eachField((field) => new Float32Array(rows * this.#widths[field]));
  }

  /** Number of transitions held. */
  get size(): number {
    return this.#size;
  }

  /** Adds one transition, which replaces the oldest if the store is full. The arrays are copied. */
  add(
    observation: Float32Array,
    action: Float32Array,
    nStepReturn: number,
    discount: number,
    nextObservation: Float32Array,
  ): void {
    if (this.#next === this.#allocated && this.#allocated < this.#capacity) this.#grow(this.#allocated * 2);
    const row = this.#next;
    this.#arrays.observations.set(observation, row * this.#widths.observations);
    this.#arrays.actions.set(action, row * this.#widths.actions);
    this.#arrays.returns[row] = nStepReturn;
    this.#arrays.discounts[row] = discount;
    this.#arrays.nextObservations.set(nextObservation, row * this.#widths.nextObservations);
    this.#next = (row + 1) % this.#capacity;
    this.#size = Math.min(this.#size + 1, this.#capacity);
  }

  #grow(rows: number): void {
    this.#allocated = Math.min(this.#capacity, rows);
    const larger = this.#allocate(this.#allocated);
    for (const field of fields) larger[field].set(this.#arrays[field]);
    this.#arrays = larger;
  }

  /** Draws B transitions uniformly with replacement, as new arrays. @throws PmpoError when the store is empty. */
  sample(key: RandomKey, batchSize: number): TransitionBatch {
    if (this.#size === 0)
      throw new PmpoError({ where: 'replay', what: 'no batch can be drawn from an empty replay' });
    const rows = fillIntegers(key, this.#size, new Uint32Array(batchSize));
    const gather = (field: Field) => {
      const width = this.#widths[field];
      const source = this.#arrays[field];
      const data = new Float32Array(batchSize * width);
      for (let i = 0; i < batchSize; i++) {
        const from = rows[i] * width;
        for (let j = 0; j < width; j++) data[i * width + j] = source[from + j];
      }
      const scalar = field === 'returns' || field === 'discounts';
      return { shape: scalar ? [batchSize] : [batchSize, width], data };
    };
    return eachField(gather);
  }

  /** All transitions, for a checkpoint. */
  snapshot(): NamedHostTensors {
    const tensors: Record<string, HostTensor> = {
      position: { shape: [1], data: Int32Array.of(this.#next) },
    };
    for (const field of fields) {
      const width = this.#widths[field];
      tensors[field] = { shape: [this.#size, width], data: this.#arrays[field].slice(0, this.#size * width) };
    }
    return tensors;
  }

  /** Restores a snapshot. @throws PmpoError when its shapes do not fit this store. */
  restore(snapshot: NamedHostTensors): void {
    const size = snapshot.returns?.shape[0] ?? -1;
    for (const field of fields) {
      const [rows, width] = snapshot[field]?.shape ?? [];
      if (rows !== size || width !== this.#widths[field] || size > this.#capacity) {
        throw new PmpoError({
          where: `checkpoint, replay/${field}`,
          what: `the shape is [${snapshot[field]?.shape ?? 'missing'}], which does not fit this configuration ([≤ ${this.#capacity}, ${this.#widths[field]}])`,
          remedy: 'Resume with the configuration that the run was started with',
        });
      }
    }
    while (this.#allocated < size) this.#grow(this.#allocated * 2);
    for (const field of fields) this.#arrays[field].set(snapshot[field].data as Float32Array);
    this.#size = size;
    this.#next = snapshot.position.data[0];
  }
}
