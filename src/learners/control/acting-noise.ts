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
 * z = (f − s)/σ, the difference of a fast and a slow average of the same ε: f ← φ·f + (1−φ)·ε with φ = e^(−1/T), s likewise with
 * four times T, and σ their difference's standard deviation. A push of about T steps is followed by a longer and weaker one to the
 * other side, and in the long run all pushes add up to nothing.
 */
interface SwingingNoise {
  /** T in steps. */
  readonly swing: number;
}

/**
 * T of continuous actions if the configuration sets nothing. Noise that decays, z ← ρ·z + …, has a trade-off that this has not. Of
 * pushes that last, ones to the same side add up: the free shoulder of `reacher` turned several times while it explored, and its
 * policy learned to move the arm only at the turns where it happened to be. Of short ones, little is left in the slow swing of
 * `cartpole_swingup`. The figures are in results/defaults/rows.jsonl.
 */
const defaultSwing = 10;

/** The slow average's steps, as a multiple of the fast one's. */
const slowness = 4;

/** The settings of exploration, of which at most one is set. */
export interface ExplorationNoise {
  readonly explorationCorrelation?: number;
  readonly explorationSwing?: number;
}

/**
 * The noise of each action dimension, [A]: as it is set, or else by the kind of dimension. Integers are chosen anew at each step,
 * because few tasks reward repeating one choice the way that a mechanism rewards a steady push, and many end by it.
 */
export function noiseProcesses(
  { explorationCorrelation: correlation, explorationSwing }: ExplorationNoise,
  actionValues: ArrayLike<number>,
): NoiseProcess[] {
  return Array.from(actionValues, (values) => {
    if (correlation !== undefined) return { correlation };
    return values === 0 || explorationSwing !== undefined
      ? { swing: explorationSwing ?? defaultSwing }
      : { correlation: 0 };
  });
}

/** A process as weights of its two averages; the slow one of a decaying process is not used. */
interface Weights {
  /** What is kept of each average at a step, and the weight of ε in it. */
  readonly fast: { readonly kept: number; readonly added: number };
  readonly slow: { readonly kept: number; readonly added: number };
  /** z = scale · (fast − slow) */
  readonly scale: number;
  /** The averages at the start from two standard normal numbers n, m: slow = a·n, fast = b·n + c·m. */
  readonly start: readonly [a: number, b: number, c: number];
}

function weightsOf(process: NoiseProcess): Weights {
  if ('correlation' in process) {
    const { correlation: kept } = process;
    const fast = { kept, added: Math.sqrt(1 - kept ** 2) };
    return { fast, slow: { kept: 0, added: 0 }, scale: 1, start: [0, 0, 1] };
  }
  const average = (steps: number) => {
    const kept = Math.exp(-1 / steps);
    return { kept, added: 1 - kept };
  };
  const [fast, slow] = [average(process.swing), average(slowness * process.swing)];
  // Both are sums of the same ε with weights that decay geometrically.
  const covariance = (a: typeof fast, b: typeof fast) => (a.added * b.added) / (1 - a.kept * b.kept);
  const [ofFast, ofSlow, both] = [covariance(fast, fast), covariance(slow, slow), covariance(fast, slow)];
  const deviation = Math.sqrt(ofSlow);
  const start = [deviation, both / deviation, Math.sqrt(ofFast - both ** 2 / ofSlow)] as const;
  return { fast, slow, scale: 1 / Math.sqrt(ofFast + ofSlow - 2 * both), start };
}

/**
 * Acting explores with noise that is correlated in time: white noise averages out over the steps that a mechanism takes to respond,
 * so that the policy never sees the effect of a push. At any single step z is standard normal all the same, so actions are
 * distributed as the policy says.
 */
export class ActingNoise {
  readonly #weights: readonly Weights[];
  readonly #key: RandomKey;
  readonly #fast: Float32Array;
  readonly #slow: Float32Array;

  /** @param processes of each action dimension, [A] */
  constructor(numEnvs: number, processes: readonly NoiseProcess[], key: RandomKey) {
    this.#weights = processes.map(weightsOf);
    this.#key = key;
    const size = numEnvs * processes.length;
    this.#fast = fillNormal(foldIn(key, 'start'), new Float32Array(size));
    this.#slow = fillNormal(foldIn(key, 'slow start'), new Float32Array(size));
    for (let i = 0; i < size; i++) {
      const [a, b, c] = this.#weights[i % processes.length]!.start;
      this.#fast[i] = b * this.#slow[i] + c * this.#fast[i];
      this.#slow[i] *= a;
    }
  }

  /** Advances to acting step `step` and returns z, [K, A]. */
  advance(step: number): Float32Array {
    const z = fillNormal(foldIn(this.#key, step), new Float32Array(this.#fast.length));
    for (let i = 0; i < z.length; i++) {
      const { fast, slow, scale } = this.#weights[i % this.#weights.length]!;
      this.#fast[i] = fast.kept * this.#fast[i] + fast.added * z[i];
      this.#slow[i] = slow.kept * this.#slow[i] + slow.added * z[i];
      z[i] = scale * (this.#fast[i] - this.#slow[i]);
    }
    return z;
  }

  /** The averages, [2, K·A]. */
  snapshot(): HostTensor {
    const data = new Float32Array(2 * this.#fast.length);
    data.set(this.#fast);
    data.set(this.#slow, this.#fast.length);
    return { shape: [2, this.#fast.length], data };
  }

  restore({ data }: HostTensor): void {
    this.#fast.set(data.subarray(0, this.#fast.length));
    this.#slow.set(data.subarray(this.#fast.length));
  }
}
