import { PmpoError } from '../../core/errors.js';
import { fillNormal, foldIn, type RandomKey } from '../../core/random-keys.js';
import type { HostTensor } from '../../engine/tensors.js';

/** The noise of acting and its correlation in time. Shapes: K environments, A action dimensions. */

/** How the noise of one action dimension depends on its own past. */
export type NoiseProcess = DecayingNoise | SwingingNoise;

/** z ← ρ·z + √(1−ρ²)·ε; white for ρ = 0. */
interface DecayingNoise {
  readonly correlation: number;
}

/**
 * z = (f − s)/σ: f is an average of ε over about T steps, f ← φ·f + (1−φ)·ε with φ = e^(−1/T), s is such an average of f, and σ is
 * the difference's standard deviation. A push is followed by one to the other side: swings of about 2πT steps are the strongest, and
 * the sum of all pushes does not grow with time.
 */
interface SwingingNoise {
  /** T in steps. */
  readonly swing: number;
}

/**
 * ρ of continuous actions if the configuration sets nothing. On `reacher` seeds ended at 850, 619 and 598 of 1000 by 0.95, at 913 and
 * 695 by 0.9, at 658, 892 and 912 by 0.8, and at 678 and 837 by noise that swings with T = 20. `cartpole_swingup`, which slower pushes
 * suit, ended at 861, 870 and 857 by 0.95, at 865, 792 and 858 by 0.8, and at 852 and 821 by swings (results/defaults/rows.jsonl; the swings were
 * the default of the commit of their rows). All of these acted without random pushes (exploration.ts). Seeds differ so much on `reacher`
 * that these are hints, not proofs.
 */
const defaultCorrelation = 0.8;

/** The settings of exploration, of which at most one is set. */
export interface ExplorationNoise {
  readonly explorationCorrelation?: number;
  readonly explorationSwing?: number;
}

/**
 * The noise of each action dimension, [A]: as it is set, or else by the kind of dimension. Integers are chosen anew at each step,
 * because few tasks reward repeating one choice the way that a mechanism rewards a steady push, and many end by it.
 * @throws PmpoError when both settings are given.
 */
export function noiseProcesses(
  { explorationCorrelation: correlation, explorationSwing }: ExplorationNoise,
  actionValues: ArrayLike<number>,
): NoiseProcess[] {
  if (correlation !== undefined && explorationSwing !== undefined) {
    throw new PmpoError({
      where: 'learner.explorationSwing',
      what: 'is set together with learner.explorationCorrelation: noise either swings or decays',
      remedy: 'Set one of the two',
    });
  }
  return Array.from(actionValues, (values) => {
    if (explorationSwing !== undefined) return { swing: explorationSwing };
    return { correlation: correlation ?? (values === 0 ? defaultCorrelation : 0) };
  });
}

/** A process as two averages, of which the second one of a decaying process stays 0. */
interface Averages {
  /** The share of each average that a step keeps. */
  readonly kept: number;
  /** The weights of ε in the first average, and of the first one in the second. */
  readonly added: readonly [number, number];
  /** z = scale · (first − second) */
  readonly scale: number;
  /** The averages at the start from two standard normal numbers n and m: second = a·n, first = b·n + c·m. */
  readonly start: readonly [a: number, b: number, c: number];
}

function averagesOf(process: NoiseProcess): Averages {
  if ('correlation' in process) {
    const { correlation: kept } = process;
    return { kept, added: [Math.sqrt(1 - kept ** 2), 0], scale: 1, start: [0, 0, 1] };
  }
  const kept = Math.exp(-1 / process.swing);
  const added = 1 - kept;
  // Of ε of k steps ago, the averages hold added · keptᵏ and added² · (k + 1) · keptᵏ. These are the sums of squares and products.
  const rest = 1 - kept ** 2;
  const variance = added ** 2 / rest;
  const covariance = added ** 3 / rest ** 2;
  const varianceOfSecond = (added ** 4 * (1 + kept ** 2)) / rest ** 3;
  const deviation = Math.sqrt(varianceOfSecond);
  return {
    kept,
    added: [added, added],
    scale: 1 / Math.sqrt(variance + varianceOfSecond - 2 * covariance),
    start: [deviation, covariance / deviation, Math.sqrt(variance - covariance ** 2 / varianceOfSecond)],
  };
}

/**
 * Acting explores with noise that is correlated in time: white noise averages out over the steps that a mechanism takes to respond,
 * so that the policy never sees the effect of a push. At any single step z is standard normal all the same, so actions are
 * distributed as the policy says.
 */
export class ActingNoise {
  readonly #averages: readonly Averages[];
  readonly #swings: boolean;
  readonly #key: RandomKey;
  readonly #first: Float32Array;
  readonly #second: Float32Array;

  /** @param processes of each action dimension, [A] */
  constructor(numEnvs: number, processes: readonly NoiseProcess[], key: RandomKey) {
    this.#averages = processes.map(averagesOf);
    this.#swings = processes.some((process) => 'swing' in process);
    this.#key = key;
    const size = numEnvs * processes.length;
    this.#first = fillNormal(foldIn(key, 'start'), new Float32Array(size));
    this.#second = fillNormal(foldIn(key, 'second start'), new Float32Array(size));
    for (let i = 0; i < size; i++) {
      const [a, b, c] = this.#averages[i % processes.length]!.start;
      this.#first[i] = b * this.#second[i] + c * this.#first[i];
      this.#second[i] *= a;
    }
  }

  /** Advances to acting step `step` and returns z, [K, A]. */
  advance(step: number): Float32Array {
    const z = fillNormal(foldIn(this.#key, step), new Float32Array(this.#first.length));
    for (let i = 0; i < z.length; i++) {
      const { kept, added, scale } = this.#averages[i % this.#averages.length]!;
      this.#first[i] = kept * this.#first[i] + added[0] * z[i];
      this.#second[i] = kept * this.#second[i] + added[1] * this.#first[i];
      z[i] = scale * (this.#first[i] - this.#second[i]);
    }
    return z;
  }

  /** The first averages, [K·A], or both if any noise swings, [2, K·A]: otherwise all of the second ones are 0. */
  snapshot(): HostTensor {
    const size = this.#first.length;
    if (!this.#swings) return { shape: [size], data: this.#first.slice() };
    const data = new Float32Array(2 * size);
    data.set(this.#first);
    data.set(this.#second, size);
    return { shape: [2, size], data };
  }

  restore({ data }: HostTensor): void {
    this.#first.set(data.subarray(0, this.#first.length));
    if (this.#swings) this.#second.set(data.subarray(this.#first.length));
  }
}
