import type { Tensor } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';

/**
 * A function of D variables whose minimum is searched. The search takes place in canonical coordinates: the bounds of `domain` are −1 and 1
 * in each dimension.
 */
export interface SearchFunction {
  readonly name: string;
  /** The bounds of each coordinate in which it is searched. A Gaussian samples outside of them too. */
  readonly domain: readonly [low: number, high: number];
  /** The fewest dimensions in which it is defined. Default: 1. */
  readonly fewestDimensions?: number;
  /** f(x) of points [.., D] in the coordinates of `domain`, in tensor operations; [..]. */
  evaluate(points: Tensor): Tensor;
}

/** A well-known function with a least value of 0. */
export interface BenchmarkFunction extends SearchFunction {
  /** The name as it is written in figures. */
  readonly title: string;
  /** The coordinate of the minimum, the same in each dimension. */
  readonly minimizer: number;
}

/** The function at canonical points [.., D], in which the bounds of its domain are −1 and 1. */
export function atCanonical({ domain: [low, high], evaluate }: SearchFunction, points: Tensor): Tensor {
  return evaluate(tf.add(tf.mul(points, (high - low) / 2), (high + low) / 2));
}

const sumOf = (terms: Tensor): Tensor => tf.sum(terms, -1);
const meanOf = (terms: Tensor): Tensor => tf.mean(terms, -1);

/** Σ x² */
export const sphere: BenchmarkFunction = {
  name: 'sphere',
  title: 'Sphere',
  domain: [-5.12, 5.12],
  minimizer: 0,
  evaluate: (x) => sumOf(tf.square(x)),
};

/** Σ 10^(4·i/(D−1)) x², a badly scaled sphere. */
export const ellipsoid: BenchmarkFunction = {
  name: 'ellipsoid',
  title: 'Ellipsoid',
  domain: [-5.12, 5.12],
  minimizer: 0,
  evaluate(x) {
    const dimensions = lastLength(x);
    const weights = Array.from({ length: dimensions }, (_, i) => 1e4 ** (i / Math.max(1, dimensions - 1)));
    return sumOf(tf.mul(tf.square(x), tf.tensor1d(weights)));
  },
};

/** Σ 100 (x_{i+1} − x_i²)² + (1 − x_i)², a curved valley. */
export const rosenbrock: BenchmarkFunction = {
  name: 'rosenbrock',
  title: 'Rosenbrock',
  domain: [-2.048, 2.048],
  minimizer: 1,
  fewestDimensions: 2,
  evaluate(x) {
    const dimensions = lastLength(x);
    const [before, after] = [part(x, 0, dimensions - 1), part(x, 1, dimensions - 1)];
    const valley = tf.mul(tf.squaredDifference(after, tf.square(before)), 100);
    return sumOf(tf.add(valley, tf.squaredDifference(before, 1)));
  },
};

/** The greatest value of x·sin √|x| for |x| ≤ 500, at `schwefelMinimizer`. */
const schwefelPeak = 418.9828872724338;
const schwefelMinimizer = 420.968746;

/**
 * Σ (peak − x·sin √|x|): many minima, the best of them near a corner of the domain. Outside of the domain, where it would fall
 * further, it is its value at the nearest point inside plus the squared distance from there.
 */
export const schwefel: BenchmarkFunction = {
  name: 'schwefel',
  title: 'Schwefel',
  domain: [-500, 500],
  minimizer: schwefelMinimizer,
  evaluate(x) {
    const inside = tf.clipByValue(x, -500, 500);
    const wave = tf.mul(inside, tf.sin(tf.sqrt(tf.abs(inside))));
    return sumOf(tf.add(tf.sub(schwefelPeak, wave), tf.squaredDifference(x, inside)));
  },
};

/** Σ x² + 10 (1 − cos 2πx): a sphere with a minimum near each point of whole numbers. */
export const rastrigin: BenchmarkFunction = {
  name: 'rastrigin',
  title: 'Rastrigin',
  domain: [-5.12, 5.12],
  minimizer: 0,
  evaluate: (x) => sumOf(tf.add(tf.square(x), tf.mul(tf.sub(1, tf.cos(tf.mul(x, 2 * Math.PI))), 10))),
};

/** 20 (1 − exp(−0.2 √mean x²)) + e − exp(mean cos 2πx): nearly flat, with a narrow funnel. */
export const ackley: BenchmarkFunction = {
  name: 'ackley',
  title: 'Ackley',
  domain: [-32.768, 32.768],
  minimizer: 0,
  evaluate(x) {
    const funnel = tf.mul(tf.sub(1, tf.exp(tf.mul(tf.sqrt(meanOf(tf.square(x))), -0.2))), 20);
    return tf.add(funnel, tf.sub(Math.E, tf.exp(meanOf(tf.cos(tf.mul(x, 2 * Math.PI))))));
  },
};

/** Least value in each dimension of ½(x⁴ − 16x² + 5x), at `styblinskiTangMinimizer`. */
const styblinskiTangLeast = -39.16616570377142;
const styblinskiTangMinimizer = -2.903534027771178;

/** Σ ½(x⁴ − 16x² + 5x), less its least value: 2^D minima of nearly the same depth. */
export const styblinskiTang: BenchmarkFunction = {
  name: 'styblinski-tang',
  title: 'Styblinski–Tang',
  domain: [-5, 5],
  minimizer: styblinskiTangMinimizer,
  evaluate(x) {
    const square = tf.square(x);
    const quartic = tf.mul(square, tf.sub(square, 16));
    return sumOf(tf.sub(tf.mul(tf.add(quartic, tf.mul(x, 5)), 0.5), styblinskiTangLeast));
  },
};

/** 1 + Σ x²/4000 − Π cos(x_i/√i): a wide bowl with small waves. */
export const griewank: BenchmarkFunction = {
  name: 'griewank',
  title: 'Griewank',
  domain: [-600, 600],
  minimizer: 0,
  evaluate(x) {
    const roots = Array.from({ length: lastLength(x) }, (_, i) => Math.sqrt(i + 1));
    const waves = tf.cos(tf.div(x, tf.tensor1d(roots)));
    const product = roots
      .map((_, i) => part(waves, i, 1))
      .reduce<Tensor>((all, wave) => tf.mul(all, tf.squeeze(wave, [-1])), tf.scalar(1));
    return tf.sub(tf.add(tf.div(sumOf(tf.square(x)), 4000), 1), product);
  },
};

/** Every benchmark function. */
export const benchmarkFunctions: readonly BenchmarkFunction[] = [
  sphere,
  rosenbrock,
  schwefel,
  rastrigin,
  ackley,
  styblinskiTang,
  griewank,
  ellipsoid,
];

/** The benchmark function of a name that a study's schema has checked. */
export function benchmarkFunction(name: string): BenchmarkFunction {
  return benchmarkFunctions.find((fn) => fn.name === name)!;
}

function lastLength({ shape }: Tensor): number {
  return shape[shape.length - 1];
}

/** `length` coordinates of points [.., D] from coordinate `from`: [.., length]. */
function part(points: Tensor, from: number, length: number): Tensor {
  const { shape } = points;
  const begin = shape.map((_, axis) => (axis === shape.length - 1 ? from : 0));
  const size = shape.map((all, axis) => (axis === shape.length - 1 ? length : all));
  return tf.slice(points, begin, size);
}
