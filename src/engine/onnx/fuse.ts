import { sizeOf } from '../../core/shape.js';
import { type GraphNode, reachable, type Value } from './graph.js';
import { uniformOf } from './simplify.js';

/**
 * Rewrites of a finished graph: groups of nodes whose intermediate values nobody else uses become one operator. Nodes are
 * changed in place; what they used and nobody else does falls out when the graph is written.
 */
export function fuse(outputs: readonly Value[]): void {
  const { nodes } = reachable(outputs);
  const uses = new Map<Value, number>();
  const use = (value: Value): void => {
    uses.set(value, (uses.get(value) ?? 0) + 1);
  };
  outputs.forEach(use);
  for (const { inputs } of nodes) {
    for (const input of inputs) if (input !== undefined) use(input);
  }
  for (const node of nodes) fuseLayerNorm(node, uses);
}

/** The node that makes `value`, if it is an `operator` and `value` is used `times` times in all. */
function maker(value: Value | undefined, operator: string, uses: Map<Value, number>, times: number) {
  const node = value?.node;
  return node?.operator === operator && uses.get(value!) === times ? node : undefined;
}

/** Both ways round of a commutative node's inputs. */
function* orders(node: GraphNode | undefined): Generator<readonly [Value, Value]> {
  if (node === undefined) return;
  const [a, b] = node.inputs as [Value, Value];
  yield [a, b];
  yield [b, a];
}

/** (x − mean) · (mean((x − mean)²) + ε)^−½ · scale + offset over the last axis, from what is built of it: x, ε and the two. */
function fuseLayerNorm(node: GraphNode, uses: Map<Value, number>): void {
  if (node.operator !== 'Add') return;
  for (const [product, offset] of orders(node)) {
    for (const [normal, scale] of orders(maker(product, 'Mul', uses, 1))) {
      for (const [centred, inverse] of orders(maker(normal, 'Mul', uses, 1))) {
        const found = matchNormal(centred, inverse, uses);
        if (found === undefined || !isVector(scale, found.x) || !isVector(offset, found.x)) continue;
        node.operator = 'LayerNormalization';
        node.inputs = [found.x, scale, offset];
        node.attributes = { axis: -1, epsilon: { float: found.epsilon } };
        return;
      }
    }
  }
}

function isVector(value: Value, x: Value): boolean {
  return value.shape.length === 1 && value.shape[0] === x.shape.at(-1) && value.constant === undefined;
}

/** x and ε where `centred` is x − mean(x), used for its square and the result alone, and `inverse` is its scale. */
function matchNormal(
  centred: Value,
  inverse: Value,
  uses: Map<Value, number>,
): { x: Value; epsilon: number } | undefined {
  const root = maker(maker(inverse, 'Reciprocal', uses, 1)?.inputs[0], 'Sqrt', uses, 1);
  for (const [variance, constant] of orders(maker(root?.inputs[0], 'Add', uses, 1))) {
    const epsilon = uniformOf(constant);
    const square = maker(lastMean(variance, uses), 'Mul', uses, 1);
    const [left, right] = square?.inputs ?? [];
    // Both factors of the square, and the normalised value.
    const difference = maker(centred, 'Sub', uses, 3);
    if (epsilon === undefined || left !== centred || right !== centred || difference === undefined) continue;
    const [x, mean] = difference.inputs as [Value, Value];
    if (lastMean(mean, uses) === x) return { x, epsilon };
  }
  return undefined;
}

/** What `value` is the mean of over the last axis, kept. */
function lastMean(value: Value, uses: Map<Value, number>): Value | undefined {
  const node = maker(value, 'ReduceMean', uses, 1);
  const x = node?.inputs[0];
  if (node === undefined || x === undefined || node.attributes.keepdims !== 1) return undefined;
  const isLast = value.shape.at(-1) === 1 && sizeOf(value.shape) * x.shape.at(-1)! === sizeOf(x.shape);
  return isLast ? x : undefined;
}
