/**
 * Expressions for constants that differ between traces. A float32 constant is fitted as
 *
 *   Σ_S c_S · Π_{i ∈ S} s_i  ·  Π_j n_j^p_j        with settings s, lengths n and whole powers p,
 *
 * such as (1 − α) / B. An integer is a product of lengths, or affine in one.
 */

/** The lengths and numbers of a trace. */
export interface Point {
  readonly sizes: Readonly<Record<string, number>>;
  readonly numbers: Readonly<Record<string, number>>;
}

export interface ConstantFit {
  readonly terms: readonly { readonly coefficient: number; readonly numbers: readonly string[] }[];
  /** Powers other than 0, by length. */
  readonly powers: Readonly<Record<string, number>>;
}

export interface IntegerFit {
  readonly sizes: readonly string[];
  readonly factor: number;
  readonly offset: number;
}

/** The relative error of a quotient of two float32 numbers. */
const precision = 3e-7;
const largestPower = 2;

/** The most numbers that one constant may depend on. */
const mostNumbers = 3;

/** The sets of up to `mostNumbers` of `names`, without the empty one. */
export function combinations(names: readonly string[]): string[][] {
  const all: string[][] = [[]];
  for (const name of names) {
    all.push(...all.filter((set) => set.length < mostNumbers).map((set) => [...set, name]));
  }
  return all.slice(1);
}

/** The names whose values differ between two points. */
function changedBetween(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): readonly string[] {
  return Object.keys(a).filter((name) => a[name] !== b[name]);
}

/**
 * Fits a float32 constant. The first point is the base; in each other point either one length or a set of numbers differs from it,
 * and every set of `combinations` of the numbers has a point.
 * @returns undefined if a length enters in another way, or more numbers than such a set may hold.
 */
export function fitNumber(values: readonly number[], points: readonly Point[]): ConstantFit | undefined {
  const [base, ...others] = points;
  const [atBase, ...rest] = values;
  const powers: Record<string, number> = {};
  const corners = new Map<string, number>([['', atBase!]]);
  const first: Record<string, number> = {};
  for (const [i, point] of others.entries()) {
    const [size] = changedBetween(base!.sizes, point.sizes);
    if (size === undefined) {
      const changed = changedBetween(base!.numbers, point.numbers);
      corners.set(changed.join(), rest[i]!);
      for (const name of changed) first[name] = point.numbers[name]!;
      continue;
    }
    const power = powerOf(rest[i]! / atBase!, point.sizes[size]! / base!.sizes[size]!);
    if (power === undefined) return undefined;
    if (power !== 0) powers[size] = power;
  }
  const scale = Object.entries(powers).reduce((product, [size, p]) => product * base!.sizes[size]! ** p, 1);
  // Numbers on which the constant does not depend must not add terms of noise.
  const used = Object.keys(first).filter((name) => corners.get(name) !== atBase);
  if (used.length > mostNumbers) return undefined;
  return {
    terms: multilinear(used, base!.numbers, first, (set) => corners.get(set.join())! / scale),
    powers,
  };
}

/** The whole number p with `ratio` = `lengths`^p. */
function powerOf(ratio: number, lengths: number): number | undefined {
  for (let power = -largestPower; power <= largestPower; power++) {
    const expected = lengths ** power;
    if (Math.abs(ratio - expected) <= precision * expected) return power;
  }
  return undefined;
}

/**
 * The coefficients of the multilinear function of `names` with the given values where each name is at `low` or at `high`. `valueAt`
 * gives the value where the names of a set are at `high` and the others at `low`.
 */
function multilinear(
  names: readonly string[],
  low: Readonly<Record<string, number>>,
  high: Readonly<Record<string, number>>,
  valueAt: (set: readonly string[]) => number,
): ConstantFit['terms'] {
  // Eliminates one variable after the other: f = f₀ + s · f₁, with f₁ the difference quotient.
  const solve = (left: readonly string[], above: readonly string[]): Map<string, number> => {
    const [name, ...others] = left;
    if (name === undefined)
      return new Map([['', valueAt(names.filter((candidate) => above.includes(candidate)))]]);
    const [atLow, atHigh] = [solve(others, above), solve(others, [...above, name])];
    const result = new Map<string, number>();
    for (const [key, value] of atLow) {
      const slope = (atHigh.get(key)! - value) / (high[name]! - low[name]!);
      result.set(key, value - slope * low[name]!);
      result.set(key === '' ? name : `${name},${key}`, slope);
    }
    return result;
  };
  const found = [...solve(names, [])].map(([key, coefficient]) => ({
    coefficient,
    numbers: key === '' ? [] : key.split(','),
  }));
  const weight = ({ coefficient, numbers }: { coefficient: number; numbers: readonly string[] }) =>
    Math.abs(numbers.reduce((product, name) => product * low[name]!, coefficient));
  const largest = Math.max(...found.map(weight));
  const terms = found.filter((term) => weight(term) > 1e-5 * largest);
  return terms.map(({ coefficient, numbers }) => ({ coefficient: rounded(coefficient), numbers }));
}

/** A number with few digits or a small denominator, if `value` is that number but for the rounding of float32. */
function rounded(value: number): number {
  const isNear = (candidate: number) => Math.abs(candidate - value) <= 2 * precision * Math.abs(value);
  const short = Number(value.toPrecision(4));
  if (isNear(short)) return short;
  for (let denominator = 3; denominator <= 12; denominator++) {
    const fraction = Math.round(value * denominator) / denominator;
    if (fraction !== 0 && isNear(fraction)) return fraction;
  }
  return value;
}

/** The value of a fit, and the size of its largest term, which bounds the rounding error. */
export function predict({ terms, powers }: ConstantFit, { sizes, numbers }: Point) {
  const scale = Object.entries(powers).reduce((product, [size, p]) => product * sizes[size]! ** p, 1);
  const parts = terms.map(
    (term) => term.numbers.reduce((product, name) => product * numbers[name]!, term.coefficient) * scale,
  );
  return {
    value: parts.reduce((sum, part) => sum + part, 0),
    magnitude: Math.max(...parts.map(Math.abs), 0),
  };
}

/**
 * Fits an integer of shapes and positions. Points as for `fitNumber`.
 * @param check a point that is not fitted, at which the constant is `atCheck`.
 */
export function fitInteger(
  values: readonly number[],
  points: readonly Point[],
  check: Point,
  atCheck: number,
): IntegerFit | undefined {
  const [base, ...others] = points;
  const atBase = values[0]!;
  const changes = others.flatMap((point, i) => {
    const [size] = changedBetween(base!.sizes, point.sizes);
    return values[i + 1] === atBase ? [] : [{ size, value: values[i + 1]!, point }];
  });
  const sizes = changes.map(({ size }) => size);
  if (!sizes.every((size) => size !== undefined)) return undefined;
  const product = (point: Point) => sizes.reduce((left, size) => left * point.sizes[size]!, 1);
  const [first] = changes;
  if (first === undefined) return undefined;
  const isAffine = sizes.length === 1;
  const factor = isAffine
    ? (first.value - atBase) / (product(first.point) - product(base!))
    : atBase / product(base!);
  const offset = atBase - factor * product(base!);
  const fits = (point: Point, value: number) => factor * product(point) + offset === value;
  if (!Number.isInteger(factor) || !changes.every(({ point, value }) => fits(point, value))) return undefined;
  return fits(check, atCheck) ? { sizes, factor, offset } : undefined;
}
