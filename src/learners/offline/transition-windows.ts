import { fillIntegers, foldIn, permutation, type RandomKey } from '../../core/random-keys.js';
import type { TransitionSource } from '../../datasets/transitions/source.js';
import type { TransitionBatch } from '../../replay/transition-store.js';
import type { DataShape, EncodedEpisode } from './data-shape.js';

/**
 * Batches of transitions from a data set that need not fit in memory. The blocks of the file are put in a random order, anew in each
 * round, and a window of consecutive blocks is in memory; batches are drawn uniformly from the window, which moves on by one block when
 * as many transitions have been drawn as the block that leaves it has. If all blocks fit, the window holds the whole data set, and
 * stays. Which blocks are in the window at an update, and which rows its batch has, depends on the key and on the number of the update
 * alone, so that a checkpoint holds no data. Shapes: B batch, O observation size, A action dimensions, n transitions.
 */

/** A block in memory, with its n-step returns. */
interface LoadedBlock {
  /** n */
  readonly size: number;
  /** The observations of its episodes, each T + 1, one after the other. */
  readonly observations: Float32Array;
  readonly actions: Float32Array;
  /** n-step returns, [n]. */
  readonly returns: Float32Array;
  /** γ^n, or 0 where the return ends in a terminal state, [n]. */
  readonly discounts: Float32Array;
  /** Rows of `observations` in which each return begins and ends, [n]. */
  readonly from: Uint32Array;
  readonly to: Uint32Array;
}

/** What `TransitionWindows` needs. */
export interface TransitionWindowsOptions {
  readonly source: TransitionSource;
  readonly data: DataShape;
  /** n of the n-step returns. */
  readonly nStep: number;
  /** γ */
  readonly discount: number;
  readonly batchSize: number;
  /** The memory that the window may take, in bytes. At least one block is always held. */
  readonly bytes: number;
  readonly key: RandomKey;
  readonly notice: (message: string) => void;
}

/** The window at an update: the position of its first block in the endless sequence, and the update at which it moves on. */
interface WindowPlace {
  readonly position: number;
  readonly until: number;
}

export class TransitionWindows {
  readonly #options: TransitionWindowsOptions;
  /** The memory that the window and the block that is read ahead take at most. */
  readonly bytes: number;
  /** Blocks in a window. */
  readonly #length: number;
  readonly #orders = new Map<number, Uint32Array>();
  readonly #loaded = new Map<number, Promise<LoadedBlock>>();
  #place: WindowPlace = { position: 0, until: 0 };
  #hasClipped = false;

  constructor(options: TransitionWindowsOptions) {
    this.#options = options;
    const { source, bytes } = options;
    const { observationSize, actionMinimum } = options.data.shape;
    const each = source.blocks.map(
      ({ transitions, episodes }) =>
        4 * ((transitions + episodes) * observationSize + transitions * (actionMinimum.length + 4)),
    );
    // One block more is read while the window is drawn from.
    const fitting = Math.floor(bytes / Math.max(1, ...each)) - 1;
    const total = each.reduce((a, b) => a + b, 0);
    this.#length = total <= bytes ? each.length : Math.max(1, Math.min(fitting, each.length - 1));
    const largest = [...each].sort((a, b) => b - a).slice(0, this.#length + 1);
    this.bytes = largest.reduce((a, b) => a + b, 0);
  }

  /** Blocks that are in memory now. */
  get held(): number {
    return this.#loaded.size;
  }

  /** Transitions of the whole data set. */
  get transitions(): number {
    return this.#options.source.blocks.reduce((sum, block) => sum + block.transitions, 0);
  }

  /** Whether the whole data set is held in memory. */
  get isWhole(): boolean {
    return this.#length === this.#options.source.blocks.length;
  }

  /** The block at a position of the endless sequence: all blocks in a random order, then all in another one, and so on. */
  #blockAt(position: number): number {
    const count = this.#options.source.blocks.length;
    const round = Math.floor(position / count);
    const known = this.#orders.get(round);
    const order = known ?? permutation(foldIn(foldIn(this.#options.key, 'round'), round), count);
    if (known === undefined) this.#orders.set(round, order);
    for (const old of this.#orders.keys()) if (old < round - 1) this.#orders.delete(old);
    return order[position % count]!;
  }

  /** Updates for which a window stays: until as many transitions have been drawn as its first block has. */
  #stay(position: number): number {
    const { source, batchSize } = this.#options;
    return Math.max(1, Math.ceil(source.blocks[this.#blockAt(position)]!.transitions / batchSize));
  }

  #placeAt(update: number): WindowPlace {
    if (this.isWhole) return { position: 0, until: Number.POSITIVE_INFINITY };
    let { position, until } = this.#place;
    if (until === 0 || update < until - this.#stay(position)) [position, until] = [0, this.#stay(0)];
    while (update >= until) {
      position += 1;
      until += this.#stay(position);
    }
    return { position, until };
  }

  #load(block: number): Promise<LoadedBlock> {
    const known = this.#loaded.get(block);
    if (known !== undefined) return known;
    const loading = this.#read(block);
    // It is awaited when its window comes; a failure must not count as unhandled until then.
    loading.catch(() => {});
    this.#loaded.set(block, loading);
    return loading;
  }

  async #read(block: number): Promise<LoadedBlock> {
    const { source, data, nStep, discount, notice } = this.#options;
    const recorded = await source.read(block);
    const episodes = recorded.map((episode) => {
      const encoded = data.encode(episode);
      if (encoded.clipped > 0 && !this.#hasClipped) {
        this.#hasClipped = true;
        notice(
          `${episode.where}: ${encoded.clipped} of ${encoded.length} actions lie outside of their bounds and count as the nearest one within; others may follow`,
        );
      }
      return encoded;
    });
    return blockOf(episodes, data.shape.observationSize, data.shape.actionMinimum.length, nStep, discount);
  }

  /** The blocks of the window at an update. Begins to read the one that comes next. */
  async #window(update: number): Promise<LoadedBlock[]> {
    this.#place = this.#placeAt(update);
    const { position } = this.#place;
    const positions = Array.from({ length: this.#length }, (_, i) => position + i);
    const blocks = this.isWhole ? positions : positions.map((at) => this.#blockAt(at));
    const wanted = new Set(this.isWhole ? blocks : [...blocks, this.#blockAt(position + this.#length)]);
    for (const block of this.#loaded.keys()) if (!wanted.has(block)) this.#loaded.delete(block);
    // In order, because a source reads one block at a time.
    const loaded: LoadedBlock[] = [];
    for (const block of blocks) loaded.push(await this.#load(block));
    for (const block of wanted) void this.#load(block);
    return loaded;
  }

  /**
   * The batch of an update: B transitions, drawn with replacement.
   * @throws PmpoError with file and place of what cannot be learned from.
   */
  async batch(update: number): Promise<TransitionBatch> {
    const { batchSize, key, data } = this.#options;
    const { observationSize: o } = data.shape;
    const a = data.shape.actionMinimum.length;
    const window = await this.#window(update);
    const total = window.reduce((sum, { size }) => sum + size, 0);
    const rows = fillIntegers(foldIn(foldIn(key, 'batch'), update), total, new Uint32Array(batchSize));
    const observations = new Float32Array(batchSize * o);
    const nextObservations = new Float32Array(batchSize * o);
    const actions = new Float32Array(batchSize * a);
    const returns = new Float32Array(batchSize);
    const discounts = new Float32Array(batchSize);
    for (let i = 0; i < batchSize; i++) {
      let row = rows[i]!;
      let index = 0;
      while (row >= window[index]!.size) row -= window[index++]!.size;
      const block = window[index]!;
      const [from, to] = [block.from[row]!, block.to[row]!];
      observations.set(block.observations.subarray(from * o, (from + 1) * o), i * o);
      nextObservations.set(block.observations.subarray(to * o, (to + 1) * o), i * o);
      actions.set(block.actions.subarray(row * a, (row + 1) * a), i * a);
      returns[i] = block.returns[row]!;
      discounts[i] = block.discounts[row]!;
    }
    return {
      observations: { shape: [batchSize, o], data: observations },
      actions: { shape: [batchSize, a], data: actions },
      returns: { shape: [batchSize], data: returns },
      discounts: { shape: [batchSize], data: discounts },
      nextObservations: { shape: [batchSize, o], data: nextObservations },
    };
  }
}

/** Episodes as one block. The return of a step near the end of its episode has as many rewards as are left. */
function blockOf(
  episodes: readonly EncodedEpisode[],
  o: number,
  a: number,
  nStep: number,
  discount: number,
): LoadedBlock {
  const size = episodes.reduce((sum, { length }) => sum + length, 0);
  const block: LoadedBlock = {
    size,
    observations: new Float32Array((size + episodes.length) * o),
    actions: new Float32Array(size * a),
    returns: new Float32Array(size),
    discounts: new Float32Array(size),
    from: new Uint32Array(size),
    to: new Uint32Array(size),
  };
  let row = 0;
  let first = 0;
  for (const { length, observations, actions, rewards, terminated } of episodes) {
    block.observations.set(observations, first * o);
    block.actions.set(actions, row * a);
    for (let t = 0; t < length; t++, row++) {
      const end = Math.min(length, t + nStep);
      let sum = 0;
      for (let k = end - 1; k >= t; k--) sum = rewards[k]! + discount * sum;
      block.returns[row] = sum;
      block.discounts[row] = terminated && end === length ? 0 : discount ** (end - t);
      block.from[row] = first + t;
      block.to[row] = first + end;
    }
    first += length + 1;
  }
  return block;
}
