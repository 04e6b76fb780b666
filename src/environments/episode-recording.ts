import type { PackedNumbers } from '../core/packed-numbers.js';
import type { Scene } from '../core/scene.js';

/** What is kept of an episode, as a file holds it. Shapes: F moments, from the reset (0) on, at equal distances; B bodies. */

/** Images of an episode: F frames, one after the other, each row by row. */
export interface RecordedFrames {
  /** The observation that they are. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** 3 for red, green and blue, 1 for gray. */
  readonly channels: 1 | 3;
  /** Bytes, deflated, in base64. */
  readonly data: string;
}

/** Numbers of an episode. */
export interface RecordedTraces {
  /** The name of each column: `position[0]`. */
  readonly names: readonly string[];
  /** [F, columns] */
  readonly values: PackedNumbers;
}

/** One episode, to be looked at. */
export interface EpisodeRecording {
  readonly format: 'pmpo episode 1';
  /** The undiscounted return. */
  readonly return: number;
  /** The steps of the simulator. */
  readonly steps: number;
  /** The steps between two moments kept. */
  readonly every: number;
  /** Whether it ended in a terminal state. */
  readonly terminated: boolean;
  /** The mean reward per step since the moment before, [F, 1]; 0 at the reset. */
  readonly rewards: PackedNumbers;
  readonly scene?: Scene;
  /** The poses of the scene's bodies, [F, 7 B]. */
  readonly poses?: PackedNumbers;
  readonly frames?: RecordedFrames;
  readonly observations?: RecordedTraces;
  readonly actions?: RecordedTraces;
}
