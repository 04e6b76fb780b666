import type { NamedSpecs, TensorSpec } from '../../environments/environment.js';
import type { ObservationPart } from '../../environments/observation-layout.js';

/**
 * Data sets of transitions as a learner reads them, whatever the file. Shapes: T steps of an episode, O observation size, A action
 * dimensions, n transitions.
 */

/** The values of one named tensor in all rows, in row-major order. */
export type Columns = Readonly<Record<string, ArrayLike<number | bigint>>>;

/** An episode, or a part of one, as its file has it: in the units of the environment. */
export interface RecordedEpisode {
  /** Its place, for messages: `main_data.hdf5, episode_3`. */
  readonly where: string;
  /** T */
  readonly length: number;
  /** The T + 1 observations, by name. */
  readonly observations: Columns;
  /** The T actions, by name. */
  readonly actions: Columns;
  /** [T] */
  readonly rewards: ArrayLike<number>;
  /** Whether the last observation is a terminal state. Otherwise the episode was cut off there. */
  readonly terminated: boolean;
}

/** A part of a data set that is read at once. */
export interface DataBlock {
  /** n */
  readonly transitions: number;
  readonly episodes: number;
}

/** An opened data set. */
export interface TransitionSource {
  /** The file or the folder. */
  readonly where: string;
  /** What it was read as, for people: `Minari, HDF5`. */
  readonly format: string;
  readonly observationSpecs: NamedSpecs;
  /** The specs of the actions. Without bounds where the file has none. */
  readonly actionSpecs: NamedSpecs;
  /** The parts of an observation that is one vector, laid out as a policy reads it, as `pmpo record` writes it. */
  readonly vectorParts?: readonly ObservationPart[];
  /** What `pmpo record` wrote of the simulator: its settings that decide what transitions mean. */
  readonly recordedIn?: unknown;
  readonly blocks: readonly DataBlock[];
  /** Whether each transition is by itself, as an episode of one step. Default: false. */
  readonly singleTransitions?: boolean;
  /** What was inferred or left out, in sentences. */
  readonly notes: readonly string[];
  /** Reads the episodes of a block. @throws PmpoError naming file and place of what cannot be learned from. */
  read(block: number): Promise<readonly RecordedEpisode[]>;
  close(): Promise<void>;
}

/** How blocks are made. */
export interface BlockSize {
  /** Transitions after which a block ends, with the episode that is open. */
  readonly transitions: number;
}

export const defaultBlockSize: BlockSize = { transitions: 4096 };

/** Numbers in a tensor of a spec. */
export const sizeOf = ({ shape }: Pick<TensorSpec, 'shape'>): number => shape.reduce((a, b) => a * b, 1);
