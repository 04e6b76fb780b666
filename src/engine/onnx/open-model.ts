import { PmpoError } from '../../core/errors.js';
import { sameShape, sizeOf } from '../../core/shape.js';
import {
  type ConstantFit,
  combinations,
  fitInteger,
  fitNumber,
  type Point,
  predict,
} from './fit-constants.js';
import { Graph, type GraphNode, reachable, type Value } from './graph.js';
import type { NamedValue } from './model.js';
import type { Trace } from './trace.js';

/**
 * Models in which the lengths of some axes, and some numbers of the function, are inputs. The function is traced at several lengths
 * and numbers. All traces must be the same graph but for the values of constants, and each constant that varies is fitted as an
 * expression of the lengths and numbers (`fit-constants.ts`), which the model then computes.
 */

/** The length of an axis: fixed, or open under a name that all axes of this length share. */
export type Axis = number | string;

/** A number that becomes an input of the model. */
export interface OpenNumber {
  /** The value that the function has if the number cannot be opened. */
  readonly value: number;
  /** Three values to trace at. They should not be special: at 0, 1 or a power of two a graph is often simpler. */
  readonly samples: readonly [number, number, number];
}

export interface OpenRequest {
  readonly name: string;
  readonly inputs: Readonly<Record<string, readonly Axis[]>>;
  readonly numbers: Readonly<Record<string, OpenNumber>>;
  trace(
    shapes: Readonly<Record<string, readonly number[]>>,
    numbers: Readonly<Record<string, number>>,
    lengths: Readonly<Record<string, number>>,
  ): Trace;
}

export interface OpenModel {
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly reads: Trace['reads'];
  /** The numbers that are inputs of the model: scalars. */
  readonly numbers: ReadonlyMap<string, Value>;
  /** The numbers that the model does not depend on. */
  readonly unused: readonly string[];
  /** The numbers that are fixed: a constant is not a sum of products of them, or the graph itself depends on them. */
  readonly fixed: readonly string[];
}

/**
 * Lengths to trace at, a row for each name: primes, so that no length looks like another or like a product. The order of their sizes is
 * the same in every trace, since kernels choose by it which of two factors to multiply first.
 */
const lengths = [
  [101, 107, 103],
  [127, 139, 131],
  [149, 163, 151],
  [173, 191, 179],
  [197, 211, 199],
  [223, 239, 227],
  [251, 269, 257],
  [277, 293, 281],
] as const;

/** The lengths of a single open axis, between which no network is likely to have a width. */
const batchLengths = [[1009, 1021, 1013]] as const;

interface Traced extends Point {
  readonly trace: Trace;
  readonly nodes: readonly GraphNode[];
}

/** Opens a function. @throws PmpoError when it depends on a length in a way that no constant can follow. */
export function openModel(request: OpenRequest): OpenModel {
  const names = openNames(request);
  const traceAt = (level: Readonly<Record<string, number>>, numbers: Readonly<Record<string, number>>) =>
    tracedAt(request, names, level, numbers);
  const { open, unused, fixed } = chooseNumbers(request, traceAt);
  const at = (level: 0 | 1 | 2) => valuesOf(request, open, level);

  const base = traceAt({}, at(0));
  const others: Traced[] = [
    ...names.map((name) => traceAt({ [name]: 1 }, at(0))),
    ...combinations(open).map((changed) =>
      traceAt({}, { ...at(0), ...Object.fromEntries(changed.map((n) => [n, at(1)[n]!])) }),
    ),
  ];
  const check = traceAt(Object.fromEntries(names.map((name) => [name, 2])), at(2));
  for (const one of [...others, check]) {
    if (!sameStructure(base.nodes, one.nodes)) throw refusal(request.name);
  }
  const opener = new Opener(request, base.trace);
  const [fitted, points] = [
    [base, ...others],
    [base, ...others, check],
  ];
  for (const [i, node] of base.nodes.entries()) {
    node.inputs = node.inputs.map((value, j) => {
      if (value?.constant === undefined) return value;
      const values = points.map(({ nodes }) => nodes[i]!.inputs[j]!);
      return opener.open(values, fitted, check);
    });
  }
  return {
    inputs: base.trace.inputs.map((port, i) => ({ ...port, shape: [...Object.values(request.inputs)[i]!] })),
    outputs: base.trace.outputs.map((port, i) => ({
      ...port,
      shape: openShape(
        port.name,
        points.map(({ trace }) => trace.outputs[i]!.value.shape),
        base,
      ),
    })),
    reads: base.trace.reads,
    numbers: opener.numbers,
    unused,
    fixed,
  };
}

const refusal = (name: string, what = 'its results depend on the batch size') =>
  new PmpoError({ where: `export of '${name}'`, what, remedy: 'Export it for a fixed batch size' });

/** The names of the open axes, in the order in which they appear. */
function openNames({ name, inputs }: OpenRequest): readonly string[] {
  const found = new Set(
    Object.values(inputs)
      .flat()
      .filter((axis) => typeof axis === 'string'),
  );
  if (found.size <= lengths.length) return [...found];
  throw refusal(name, `${found.size} lengths are open, and at most ${lengths.length} may be`);
}

function tracedAt(
  { inputs, trace }: OpenRequest,
  names: readonly string[],
  level: Readonly<Record<string, number>>,
  numbers: Readonly<Record<string, number>>,
): Traced {
  const rows = names.length === 1 ? batchLengths : lengths;
  const sizes = Object.fromEntries(names.map((name, i) => [name, rows[i]![level[name] ?? 0]!]));
  const shapes = Object.entries(inputs).map(([name, axes]): [string, number[]] => [
    name,
    axes.map((axis) => (typeof axis === 'number' ? axis : sizes[axis]!)),
  ]);
  const made = trace(Object.fromEntries(shapes), numbers, sizes);
  return { sizes, numbers, trace: made, nodes: reachable(made.outputs.map(({ value }) => value)).nodes };
}

/** The numbers at which to trace: those in `open` at their sample, the others at their value. */
function valuesOf(
  { numbers }: OpenRequest,
  open: readonly string[],
  level: 0 | 1 | 2,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(numbers).map(([name, { value, samples }]) => [
      name,
      open.includes(name) ? samples[level] : value,
    ]),
  );
}

/** Which numbers can be inputs: those in which every constant is affine while the others stay as they are. */
function chooseNumbers(
  request: OpenRequest,
  traceAt: (level: Readonly<Record<string, number>>, numbers: Readonly<Record<string, number>>) => Traced,
): { open: string[]; unused: string[]; fixed: string[] } {
  const all = Object.keys(request.numbers);
  const at = (level: 0 | 1 | 2) => valuesOf(request, all, level);
  const chosen: { open: string[]; unused: string[]; fixed: string[] } = { open: [], unused: [], fixed: [] };
  if (all.length === 0) return chosen;
  const base = traceAt({}, at(0));
  for (const name of all) {
    const changed = ([1, 2] as const).map((level) => traceAt({}, { ...at(0), [name]: at(level)[name]! }));
    const [one, two] = changed as [Traced, Traced];
    chosen[effectOf(base, one, two)].push(name);
  }
  return chosen;
}

/** What a number that has another value in each of three traces means for the model. */
function effectOf(base: Traced, one: Traced, two: Traced): 'open' | 'unused' | 'fixed' {
  if (!sameStructure(base.nodes, one.nodes) || !sameStructure(base.nodes, two.nodes)) return 'fixed';
  let effect: 'open' | 'unused' = 'unused';
  for (const [i, node] of base.nodes.entries()) {
    for (const [j, value] of node.inputs.entries()) {
      if (value?.constant === undefined) continue;
      const values = [value, one.nodes[i]!.inputs[j]!, two.nodes[i]!.inputs[j]!];
      if (areEqual(values)) continue;
      if (value.type !== 'float32' || values.some(({ constant }) => constant!.length !== 1)) return 'fixed';
      const numbers = values.map(({ constant }) => Number(constant![0]));
      const fit = fitNumber(numbers.slice(0, 2), [base, one]);
      if (fit === undefined || !agrees(fit, two, numbers[2]!)) return 'fixed';
      effect = 'open';
    }
  }
  return effect;
}

function sameStructure(a: readonly GraphNode[], b: readonly GraphNode[]): boolean {
  return (
    a.length === b.length &&
    a.every((node, i) => {
      const other = b[i]!;
      return (
        node.operator === other.operator &&
        node.inputs.length === other.inputs.length &&
        node.inputs.every(
          (value, j) => (value?.constant === undefined) === (other.inputs[j]?.constant === undefined),
        ) &&
        JSON.stringify(node.attributes) === JSON.stringify(other.attributes)
      );
    })
  );
}

function areEqual(values: readonly Value[]): boolean {
  const [first, ...rest] = values;
  return rest.every(
    ({ constant, shape }) =>
      sameShape(shape, first!.shape) && constant!.every((item, i) => Object.is(item, first!.constant![i])),
  );
}

/** Whether a fit predicts a float32 constant of a trace that it was not made from. */
function agrees(fit: ConstantFit, point: Point, found: number): boolean {
  const { value, magnitude } = predict(fit, point);
  return Math.abs(value - found) <= 2e-6 * magnitude;
}

/** The shape of an output: lengths that vary have a name. */
function openShape(port: string, shapes: readonly (readonly number[])[], { sizes }: Point): Axis[] {
  return shapes[0]!.map((length, axis) => {
    if (shapes.every((shape) => shape[axis] === length)) return length;
    const name = Object.keys(sizes).find((size) => sizes[size] === length);
    return name ?? `${port}_${axis}`;
  });
}

const integerType = { type: 'int64', shape: [1] } as const;
const scalarType = { type: 'float32', shape: [] } as const;

/** Replaces constants that vary by values that the model computes. */
class Opener {
  /** The inputs that hold the open numbers; those of them that a constant depends on. */
  readonly numbers = new Map<string, Value>();
  readonly #graph = new Graph('open');
  readonly #name: string;
  readonly #axes = new Map<string, { readonly value: Value; readonly axis: number }>();

  constructor({ name, inputs }: OpenRequest, { inputs: ports, outputs }: Trace) {
    this.#name = name;
    // A length is taken from an input that the function reads, so that no other becomes an input of the model.
    const used = new Set(reachable(outputs.map(({ value }) => value)).inputs);
    const all = Object.values(inputs).map((axes, i) => ({ axes, value: ports[i]!.value }));
    for (const { axes, value } of all.toSorted(
      (a, b) => Number(used.has(b.value)) - Number(used.has(a.value)),
    )) {
      for (const [axis, size] of axes.entries()) {
        if (typeof size === 'string' && !this.#axes.has(size)) this.#axes.set(size, { value, axis });
      }
    }
  }

  /**
   * @param values the constant in every trace, of which the last one checks the fit.
   * @throws PmpoError if no expression gives these values.
   */
  open(values: readonly Value[], fitted: readonly Point[], check: Point): Value {
    const first = values[0]!;
    if (areEqual(values)) return first;
    const data = values.map(({ constant }) => [...constant!].map(Number));
    const isRange = data.every((items) => items.every((item, i) => item === i));
    if (isRange && data.some(({ length }) => length !== data[0]!.length)) {
      const integer = (counts: readonly number[]) => this.#integer(counts, fitted, check);
      const shape = first.shape.map((_, axis) => integer(values.map((value) => value.shape[axis]!)));
      return this.#range(integer(data.map(({ length }) => length)), shape, first);
    }
    if (data.some(({ length }) => length !== data[0]!.length)) throw refusal(this.#name);
    if (first.type === 'int64') {
      const parts = data[0]!.map((_, i) =>
        this.#integer(
          data.map((items) => items[i]!),
          fitted,
          check,
        ),
      );
      if (parts.length === 1) return parts[0]!;
      return this.#graph.emit('Concat', parts, { axis: 0 }, { type: 'int64', shape: [parts.length] });
    }
    if (first.type !== 'float32' || data[0]!.length !== 1) throw refusal(this.#name);
    const numbers = data.map((items) => items[0]!);
    const fit = fitNumber(numbers.slice(0, -1), fitted);
    if (fit === undefined || !agrees(fit, check, numbers.at(-1)!)) throw refusal(this.#name);
    return this.#reshaped(this.#number(fit), first.shape);
  }

  #integer(values: readonly number[], fitted: readonly Point[], check: Point): Value {
    if (values.every((value) => value === values[0])) return this.#graph.integers([values[0]!]);
    const fit = fitInteger(values.slice(0, -1), fitted, check, values.at(-1)!);
    if (fit === undefined) throw refusal(this.#name);
    let value: Value | undefined;
    for (const size of fit.sizes) {
      const factor = this.#length(size);
      value = value === undefined ? factor : this.#graph.emit('Mul', [value, factor], {}, integerType);
    }
    if (fit.factor !== 1) {
      value = this.#graph.emit('Mul', [value!, this.#graph.integers([fit.factor])], {}, integerType);
    }
    if (fit.offset === 0) return value!;
    return this.#graph.emit('Add', [value!, this.#graph.integers([fit.offset])], {}, integerType);
  }

  /** The length of an open axis, int64 [1]. */
  #length(size: string): Value {
    const { value, axis } = this.#axes.get(size)!;
    return this.#graph.emit('Shape', [value], { start: axis, end: axis + 1 }, integerType);
  }

  /** Σ coefficient · Π numbers, times powers of the lengths: a float32 scalar. */
  #number({ terms, powers }: ConstantFit): Value {
    const graph = this.#graph;
    const sum = terms.map(({ coefficient, numbers }) => {
      const product = numbers
        .map((name) => this.#input(name))
        .reduce<Value | undefined>(
          (left, right) => (left === undefined ? right : graph.emit('Mul', [left, right], {}, scalarType)),
          undefined,
        );
      if (product === undefined) return graph.scalar('float32', coefficient);
      if (coefficient === 1) return product;
      return graph.emit('Mul', [product, graph.scalar('float32', coefficient)], {}, scalarType);
    });
    let value = sum.reduce((left, right) => graph.emit('Add', [left, right], {}, scalarType));
    for (const [size, power] of Object.entries(powers)) {
      const cast = graph.emit('Cast', [this.#length(size)], { to: 1 }, { type: 'float32', shape: [1] });
      const length = graph.emit('Reshape', [cast, graph.integers([])], {}, scalarType);
      for (let i = 0; i < Math.abs(power); i++) {
        value = graph.emit(power > 0 ? 'Mul' : 'Div', [value, length], {}, scalarType);
      }
    }
    return value;
  }

  #input(name: string): Value {
    const known = this.numbers.get(name);
    if (known !== undefined) return known;
    const made = this.#graph.input(name, 'float32', []);
    this.numbers.set(name, made);
    return made;
  }

  #reshaped(value: Value, shape: readonly number[]): Value {
    if (shape.length === 0) return value;
    return this.#graph.emit('Reshape', [value, this.#graph.integers(shape)], {}, { type: 'float32', shape });
  }

  /** 0, 1, 2, … in a tensor of the lengths in `axes`: the positions along an open axis. */
  #range(length: Value, axes: readonly Value[], { type, shape }: Value): Value {
    const graph = this.#graph;
    const scalar = (value: Value) =>
      graph.emit('Reshape', [value, graph.integers([])], {}, { type: 'int64', shape: [] });
    const bounds = [graph.integers([0]), length, graph.integers([1])].map(scalar);
    const flat = [sizeOf(shape)];
    const range = graph.emit('Range', bounds, {}, { type: 'int64', shape: flat });
    if (type === 'int64') return range;
    const cast = graph.emit('Cast', [range], { to: type === 'float32' ? 1 : 6 }, { type, shape: flat });
    if (axes.length === 1) return cast;
    const target = graph.emit('Concat', axes, { axis: 0 }, { type: 'int64', shape: [axes.length] });
    return graph.emit('Reshape', [cast, target], {}, { type, shape });
  }
}
