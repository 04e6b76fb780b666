import { sameShape, sizeOf } from '../../core/shape.js';
import { dependencies, type GraphNode, reachable, type Value } from './graph.js';
import { uniformOf } from './simplify.js';

/** What `fuse` may take for granted, and what it may use. */
export interface FuseOptions {
  /**
   * For the graph inside of a node: the values of the graph around it that it reads. What computes them is not part of it, and other
   * nodes may use it. All other values that `outputs` depend on are used in this graph only.
   */
  readonly captured?: ReadonlySet<Value>;
  /** Whether sums of squares are fused. Not in exported models, whose readers need not know the operator. Default: false. */
  readonly squares?: boolean;
}

/**
 * Replaces groups of nodes by one operator if no other node uses their intermediate values. Changes nodes in place; nodes that
 * are no longer used are left out when the graph is written.
 */
export function fuse(outputs: readonly Value[], options: FuseOptions = {}): void {
  const { captured = new Set(), squares = false } = options;
  const { nodes } = reachable(outputs, captured);
  const uses = new Map<Value, number>();
  const use = (value: Value): void => {
    uses.set(value, (uses.get(value) ?? 0) + 1);
  };
  outputs.forEach(use);
  for (const node of nodes) {
    for (const value of dependencies(node)) if (value !== undefined) use(value);
  }
  // A value without a count of uses has no producer that may be replaced.
  for (const value of captured) uses.delete(value);
  for (const node of nodes) {
    fuseLayerNorm(node, uses);
    if (squares) fuseSumOfSquares(node, uses);
    if (node.body !== undefined) fuse(node.body.outputs, { squares, captured: new Set(node.body.captured) });
  }
}

/** The node that computes `value`, if its operator is `operator` and `value` is used exactly `times` times. */
function producer(value: Value | undefined, operator: string, uses: Map<Value, number>, times: number) {
  const node = value?.node;
  return node?.operator === operator && uses.get(value!) === times ? node : undefined;
}

/** Both orders of the inputs of a commutative node. */
function* orders(node: GraphNode | undefined): Generator<readonly [Value, Value]> {
  if (node === undefined) return;
  const [a, b] = node.inputs;
  if (a === undefined || b === undefined) return;
  yield [a, b];
  yield [b, a];
}

/** Fuses (x − mean(x)) · (mean((x − mean(x))²) + ε)^−½ · scale + offset, over the last axis, to LayerNormalization. */
function fuseLayerNorm(node: GraphNode, uses: Map<Value, number>): void {
  if (node.operator !== 'Add') return;
  for (const [product, offset] of orders(node)) {
    for (const [normal, scale] of orders(producer(product, 'Mul', uses, 1))) {
      for (const [centered, inverse] of orders(producer(normal, 'Mul', uses, 1))) {
        const found = matchNormal(centered, inverse, uses);
        if (found === undefined || !isVector(scale, found.x) || !isVector(offset, found.x)) continue;
        node.operator = 'LayerNormalization';
        node.inputs = [found.x, scale, offset];
        node.attributes = { axis: -1, epsilon: { float: found.epsilon } };
        return;
      }
    }
  }
}

/** Fuses the sum of x·x to ReduceSumSquare, which does not write the squares. */
function fuseSumOfSquares(node: GraphNode, uses: Map<Value, number>): void {
  if (node.operator !== 'ReduceSum') return;
  const [squares, axes] = node.inputs;
  const [a, b] = producer(squares, 'Mul', uses, 1)?.inputs ?? [];
  if (a === undefined || a !== b || a.type !== 'float32' || !sameShape(a.shape, squares!.shape)) return;
  node.operator = 'ReduceSumSquare';
  node.inputs = [a, axes];
}

function isVector(value: Value, x: Value): boolean {
  return value.shape.length === 1 && value.shape[0] === x.shape.at(-1) && value.constant === undefined;
}

/**
 * x and ε, if `centered` is x − mean(x) and `inverse` is 1 / √(mean(centered²) + ε), and `centered` is used only for its square
 * and the normalized value.
 */
function matchNormal(
  centered: Value,
  inverse: Value,
  uses: Map<Value, number>,
): { x: Value; epsilon: number } | undefined {
  const root = producer(producer(inverse, 'Reciprocal', uses, 1)?.inputs[0], 'Sqrt', uses, 1);
  for (const [variance, constant] of orders(producer(root?.inputs[0], 'Add', uses, 1))) {
    const epsilon = uniformOf(constant);
    const square = producer(meanOverLastAxis(variance, uses), 'Mul', uses, 1);
    const [left, right] = square?.inputs ?? [];
    // Three uses: both factors of the square, and the normalized value.
    const difference = producer(centered, 'Sub', uses, 3);
    if (epsilon === undefined || left !== centered || right !== centered || difference === undefined)
      continue;
    const [x, mean] = difference.inputs;
    if (x !== undefined && mean !== undefined && meanOverLastAxis(mean, uses) === x) return { x, epsilon };
  }
  return undefined;
}

/** x, if `value` is its mean over the last axis, with the axis kept. */
function meanOverLastAxis(value: Value, uses: Map<Value, number>): Value | undefined {
  const node = producer(value, 'ReduceMean', uses, 1);
  const x = node?.inputs[0];
  if (node === undefined || x === undefined || node.attributes.keepdims !== 1) return undefined;
  const isLast = value.shape.at(-1) === 1 && sizeOf(value.shape) * x.shape.at(-1)! === sizeOf(x.shape);
  return isLast ? x : undefined;
}
