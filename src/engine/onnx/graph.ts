import { sameShape, sizeOf } from '../../core/shape.js';

/** A dataflow graph: values with their shapes, and the nodes that compute them. */

export type ValueType = 'float32' | 'int32' | 'bool' | 'int64';
export type AttributeValue = number | string | readonly number[] | { readonly float: number };
export type Attributes = Readonly<Record<string, AttributeValue>>;

export type ConstantData = Float32Array | Int32Array | BigInt64Array | Uint8Array;

/** A tensor of the graph: the output of a node, an input, or a constant. */
export interface Value {
  readonly name: string;
  readonly type: ValueType;
  readonly shape: readonly number[];
  readonly node?: GraphNode;
  readonly constant?: ConstantData;
  /** Set if this value is another one broadcast to a larger shape; elementwise nodes may use that one instead. */
  readonly broadcastOf?: Value;
  /** Set if this value is another one with its last two axes exchanged; matrix products may use that one instead. */
  readonly transposeOf?: Value;
}

export interface GraphNode {
  operator: string;
  inputs: readonly (Value | undefined)[];
  attributes: Attributes;
  outputs: readonly Value[];
  /** The graph that a Scan runs once for each part of its inputs. */
  readonly body?: Body;
}

/** A graph inside of a node. Its nodes are those that depend on its inputs; the others belong to the graph around it. */
export interface Body {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  /** Values of the graph around it that its nodes read. */
  readonly captured: readonly Value[];
}

/** What a node depends on: its inputs, and what its body reads of the graph around it. */
export function dependencies({ inputs, body }: GraphNode): readonly (Value | undefined)[] {
  return body === undefined ? inputs : [...inputs, ...body.captured];
}

export interface OutputSpec {
  readonly type: ValueType;
  readonly shape: readonly number[];
  readonly broadcastOf?: Value;
  readonly transposeOf?: Value;
}

/** The operators in use that ONNX Runtime has and ONNX does not, each with its domain; exported models do not use them. */
export const contributedOperators: ReadonlyMap<string, string> = new Map([
  ['RotaryEmbedding', 'com.microsoft'],
  // ONNX Runtime has it in ONNX's own domain.
  ['SimplifiedLayerNormalization', ''],
]);

/** Constants of at most this size are shared if they are equal. */
const maxSharedSize = 1024;

function zeros(type: ValueType, size: number): ConstantData {
  if (type === 'int32') return new Int32Array(size);
  if (type === 'bool') return new Uint8Array(size);
  if (type === 'int64') return new BigInt64Array(size);
  return new Float32Array(size);
}

/** A graph under construction. Nodes with the same operator, attributes and inputs are created once. */
export class Graph {
  readonly #byKey = new Map<string, GraphNode>();
  readonly #constants = new Map<string, Value>();
  readonly #prefix: string;
  /**
   * Whether the graph is one of several that must be equal but for the lengths of axes. It then holds no constant as long as such an axis,
   * such as the row of ones that turns a sum over rows into a product, and computes no batch in parts, whose number depends on lengths.
   */
  readonly openLengths: boolean;
  /** Whether nodes may be contributed operators. */
  readonly contributed: boolean;
  /** The inputs of the bodies of all nodes; nothing else may depend on them. */
  readonly partInputs = new Set<Value>();
  #counter = 0;

  /** @param prefix of the names of all values, so that graphs can be merged without name clashes. */
  constructor(
    prefix = '',
    { openLengths = false, contributed = false }: Partial<Pick<Graph, 'openLengths' | 'contributed'>> = {},
  ) {
    this.#prefix = prefix;
    this.openLengths = openLengths;
    this.contributed = contributed;
  }

  #name(kind: string): string {
    this.#counter += 1;
    return `${this.#prefix}${kind}_${this.#counter}`;
  }

  /** A new input, for an input of the function or a variable. */
  input(label: string, type: ValueType, shape: readonly number[]): Value {
    return { name: `${label}#${this.#name('in')}`, type, shape: [...shape] };
  }

  /** A new input of the body of a node. */
  partInput(label: string, type: ValueType, shape: readonly number[]): Value {
    const value = this.input(label, type, shape);
    this.partInputs.add(value);
    return value;
  }

  /** A constant. Small equal constants are shared; a constant of one repeated number becomes a broadcast scalar. */
  constant(type: ValueType, shape: readonly number[], data: ConstantData): Value {
    const size = sizeOf(shape);
    if (size > 1 && isUniform(data)) {
      const one = zeros(type, 1);
      one[0] = data[0];
      return this.broadcast(this.constant(type, [], one), shape);
    }
    return this.constantWhole(type, shape, data);
  }

  /** A constant that does not become a broadcast scalar, for operators that need the whole array. */
  constantWhole(type: ValueType, shape: readonly number[], data: ConstantData): Value {
    const size = sizeOf(shape);
    const key = size <= maxSharedSize ? `${type}[${shape}]${data.join(',')}${signs(data)}` : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known !== undefined) return known;
    const value: Value = { name: this.#name('const'), type, shape: [...shape], constant: data };
    if (key !== undefined) this.#constants.set(key, value);
    return value;
  }

  scalar(type: 'float32' | 'int32', number: number): Value {
    return this.constant(type, [], type === 'float32' ? Float32Array.of(number) : Int32Array.of(number));
  }

  /** A 1-D int64 constant: shapes, axes, paddings. */
  integers(numbers: readonly number[]): Value {
    const data = BigInt64Array.from(numbers, BigInt);
    const key = `int64 list ${numbers}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const value: Value = {
      name: this.#name('const'),
      type: 'int64',
      shape: [numbers.length],
      constant: data,
    };
    this.#constants.set(key, value);
    return value;
  }

  /** `value` broadcast to `shape`; the result refers to the value before the broadcast. */
  broadcast(value: Value, shape: readonly number[]): Value {
    if (sameShape(value.shape, shape)) return value;
    const source = value.broadcastOf ?? value;
    return this.emit(
      'Expand',
      [source, this.integers(shape)],
      {},
      { type: value.type, shape, broadcastOf: source },
    );
  }

  /** Appends a node with one output. */
  emit(
    operator: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    output: OutputSpec,
  ): Value {
    return this.emitMany(operator, inputs, attributes, [output])[0];
  }

  /** Appends a node with several outputs. */
  emitMany(
    operator: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    outputs: readonly OutputSpec[],
  ): readonly Value[] {
    const shapes = outputs.map((o) => `${o.type}[${o.shape}]`).join();
    const key = `${operator}(${inputs.map((v) => v?.name ?? '').join()})${JSON.stringify(attributes)}:${shapes}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.outputs;
    const node = this.#node({ operator, inputs, attributes, outputs: [] }, outputs);
    this.#byKey.set(key, node);
    return node.outputs;
  }

  /** Appends a node that runs a graph of its own. */
  emitWithBody(
    operator: string,
    inputs: readonly Value[],
    attributes: Attributes,
    body: Body,
    outputs: readonly OutputSpec[],
  ): readonly Value[] {
    return this.#node({ operator, inputs, attributes, body, outputs: [] }, outputs).outputs;
  }

  #node(node: GraphNode, outputs: readonly OutputSpec[]): GraphNode {
    node.outputs = outputs.map((o) => ({ ...o, shape: [...o.shape], name: this.#name(node.operator), node }));
    return node;
  }
}

function isUniform(data: ConstantData): boolean {
  for (let i = 1; i < data.length; i++) if (!Object.is(data[i], data[0])) return false;
  return data.length > 0;
}

/** Distinguishes −0 from 0 in the key of a constant. */
function signs(data: ConstantData): string {
  let text = '';
  for (const item of data) text += Object.is(item, -0) ? '-' : '';
  return text;
}

/**
 * The nodes that `outputs` depend on, in topological order, and the constants and inputs that they read.
 * @param known values that are taken as inputs, whatever computes them.
 */
export function reachable(
  outputs: readonly Value[],
  known: ReadonlySet<Value> = new Set(),
): {
  nodes: GraphNode[];
  constants: Value[];
  inputs: Value[];
} {
  const nodes: GraphNode[] = [];
  const constants: Value[] = [];
  const inputs: Value[] = [];
  const seenNodes = new Set<GraphNode>();
  const seenValues = new Set<Value>();
  // An explicit stack, because the graph of a long update is thousands of nodes deep.
  const stack: { value: Value; expanded: boolean }[] = [...outputs]
    .reverse()
    .map((value) => ({ value, expanded: false }));
  while (stack.length > 0) {
    const top = stack.pop()!;
    const { node } = top.value;
    if (node === undefined || known.has(top.value)) {
      if (seenValues.has(top.value)) continue;
      seenValues.add(top.value);
      (top.value.constant === undefined ? inputs : constants).push(top.value);
      continue;
    }
    if (seenNodes.has(node)) continue;
    if (top.expanded) {
      seenNodes.add(node);
      nodes.push(node);
      continue;
    }
    stack.push({ value: top.value, expanded: true });
    for (const input of dependencies(node).toReversed()) {
      if (input !== undefined) stack.push({ value: input, expanded: false });
    }
  }
  return { nodes, constants, inputs };
}
