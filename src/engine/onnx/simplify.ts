import { sameShape } from '../../core/shape.js';
import type { Graph, Value } from './graph.js';

/** Simplifications of elementwise operators with operands that are known while tracing. */

type Fold = (...numbers: number[]) => number;

const folds: Readonly<Record<string, Fold>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Max: Math.max,
  Min: Math.min,
  Pow: (a, b) => a ** b,
  Neg: (a) => -a,
  Abs: Math.abs,
  Sqrt: Math.sqrt,
  Exp: Math.exp,
  Log: Math.log,
  Reciprocal: (a) => 1 / a,
  Greater: (a, b) => Number(a > b),
  GreaterOrEqual: (a, b) => Number(a >= b),
  Less: (a, b) => Number(a < b),
  LessOrEqual: (a, b) => Number(a <= b),
  Equal: (a, b) => Number(a === b),
  And: (a, b) => a & b,
  Or: (a, b) => a | b,
  Not: (a) => 1 - a,
};

/** The number that every element of a constant is equal to; undefined for other values. */
export function uniformOf(value: Value): number | undefined {
  const { constant } = value.broadcastOf ?? value;
  return constant?.length === 1 ? Number(constant[0]) : undefined;
}

/** A scalar constant. */
export function scalarOf(graph: Graph, type: Value['type'], number: number): Value {
  return type === 'bool'
    ? graph.constant('bool', [], Uint8Array.of(number))
    : graph.scalar(type as 'float32' | 'int32', number);
}

/**
 * A cheaper value that is equal to `operator(operands)` up to broadcasting, or undefined. A product with the constant 0 is 0
 * even if the other operand may be infinite or NaN, so that zero gradients (of stopGradient, for example) cost nothing.
 */
export function simplified(
  graph: Graph,
  operator: string,
  operands: readonly Value[],
  type: Value['type'],
): Value | undefined {
  const numbers = operands.map(uniformOf);
  const fold = folds[operator];
  if (fold !== undefined && numbers.every((number) => number !== undefined)) {
    return scalarOf(graph, type, fold(...(numbers as number[])));
  }
  const [a, b, c] = operands;
  const [left, right] = numbers;
  switch (operator) {
    case 'Add':
      return left === 0 ? b : right === 0 ? a : undefined;
    case 'Sub':
      return right === 0 ? a : undefined;
    case 'Mul':
      if (left === 0 || right === 0) return scalarOf(graph, type, 0);
      if (left === 1) return b;
      if (right === 1) return a;
      return mergeFactors(graph, a, b, left, right) ?? mergeIndicators(graph, a, b);
    case 'Div':
      if (left === 0) return scalarOf(graph, type, 0);
      return right === 1 ? a : mergeQuotient(graph, a, right);
    case 'Pow':
      return right === 1 ? a : undefined;
    case 'And':
      return left === 1 || a === b ? b : right === 1 ? a : undefined;
    case 'Or':
      return left === 0 || a === b ? b : right === 0 ? a : undefined;
    case 'Greater':
      return right === 0 ? conditionOf(a) : undefined;
    case 'Neg': {
      const product = scaled(a);
      return product === undefined ? undefined : scale(graph, product.of, -product.by);
    }
    case 'Not':
      return a.node?.operator === operator ? a.node.inputs[0] : undefined;
    case 'Where':
      return left === undefined ? undefined : left === 0 ? c : b;
    default:
      return undefined;
  }
}

/** (x · b) · c as x · (b · c) for constants b and c. */
function mergeFactors(
  graph: Graph,
  a: Value,
  b: Value,
  left: number | undefined,
  right: number | undefined,
): Value | undefined {
  const factor = left ?? right;
  const other = left === undefined ? a : b;
  if (factor === undefined || other.type !== 'float32') return undefined;
  const product = scaled(other);
  if (product === undefined) return undefined;
  return scale(graph, product.of, factor * product.by);
}

/** The condition of a value that is 1 where the condition holds, and 0 elsewhere; undefined if the value is not such. */
function conditionOf(value: Value): Value | undefined {
  if (value.node?.operator !== 'Cast' || value.type === 'bool') return undefined;
  const [condition] = value.node.inputs;
  return condition?.type === 'bool' ? condition : undefined;
}

/** A product with a condition as 0 or 1: of two conditions, it is that of both; of a value that is 0 elsewhere, it is the value. */
function mergeIndicators(graph: Graph, a: Value, b: Value): Value | undefined {
  if (!sameShape(a.shape, b.shape) || a.type !== 'float32') return undefined;
  const [left, right] = [conditionOf(a), conditionOf(b)];
  if (left !== undefined && right !== undefined) {
    if (left === right) return a;
    const { shape } = a;
    const both = graph.emit('And', [left, right], {}, { type: 'bool', shape });
    return graph.emit('Cast', [both], { to: 1 }, { type: 'float32', shape });
  }
  if (left !== undefined && isZeroUnless(left, b)) return b;
  if (right !== undefined && isZeroUnless(right, a)) return a;
  return undefined;
}

/** How deep `isZeroUnless` looks into products of products. */
const maxProductDepth = 4;

/** Whether the product of a value with a condition, as 1 or 0, is known to be the value itself. */
function isZeroUnless(condition: Value, { node }: Value, depth = 0): boolean {
  if (node?.operator === 'Where') {
    const [chosen, , other] = node.inputs;
    return chosen === condition && uniformOf(other!) === 0;
  }
  if (node?.operator !== 'Mul' || depth === maxProductDepth) return false;
  return node.inputs.some(
    (factor) => conditionOf(factor!) === condition || isZeroUnless(condition, factor!, depth + 1),
  );
}

/** The same node with simpler operands: a choice takes no part of a choice by the same condition, and a sum with a negative is a difference. */
export function withoutRepeats(
  operator: string,
  operands: readonly Value[],
): { readonly operator: string; readonly operands: readonly Value[] } {
  const [a, b, c] = operands;
  if (operator === 'Where') {
    const [x, y] = [chosenBy(a!, b!, 1), chosenBy(a!, c!, 2)];
    return { operator, operands: [a!, x, y] };
  }
  if (operator === 'Add' && b?.node?.operator === 'Neg') {
    return { operator: 'Sub', operands: [a!, b.node.inputs[0]!] };
  }
  if (operator === 'Add' && a?.node?.operator === 'Neg') {
    return { operator: 'Sub', operands: [b!, a.node.inputs[0]!] };
  }
  return { operator, operands };
}

/** What a choice by the same condition takes of `value`. */
function chosenBy(condition: Value, value: Value, side: 1 | 2): Value {
  const { node, shape } = value;
  if (node?.operator !== 'Where' || node.inputs[0] !== condition) return value;
  const taken = node.inputs[side]!;
  return sameShape(taken.shape, shape) ? taken : value;
}

/** (x · b) / c as x · (b / c) for constants b and c, and x / c as x · (1 / c) if c is a power of two. */
function mergeQuotient(graph: Graph, a: Value, divisor: number | undefined): Value | undefined {
  if (divisor === undefined || a.type !== 'float32' || divisor === 0) return undefined;
  const product = scaled(a);
  if (product !== undefined) return scale(graph, product.of, product.by / divisor);
  return Number.isInteger(Math.log2(Math.abs(divisor))) ? scale(graph, a, 1 / divisor) : undefined;
}

/** The factors of `value`, up to broadcasting, if it is a product with a constant. */
export function scaled(value: Value): { of: Value; by: number } | undefined {
  const { node } = value.broadcastOf ?? value;
  if (value.type !== 'float32') return undefined;
  if (node?.operator === 'Neg') return { of: node.inputs[0]!, by: -1 };
  if (node?.operator !== 'Mul') return undefined;
  const [a, b] = node.inputs;
  if (a === undefined || b === undefined) return undefined;
  const [left, right] = [uniformOf(a), uniformOf(b)];
  if (left !== undefined) return { of: b, by: left };
  return right === undefined ? undefined : { of: a, by: right };
}

/** x · c, up to broadcasting. */
export function scale(graph: Graph, value: Value, factor: number): Value {
  const source = value.broadcastOf ?? value;
  if (Math.fround(factor) === 1) return source;
  const { type, shape } = source;
  return graph.emit('Mul', [source, graph.scalar('float32', factor)], {}, { type, shape });
}
