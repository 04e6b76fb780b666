import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import type { AttributeValue, Body, ConstantData, GraphNode, Value, ValueType } from './graph.js';
import { contributedOperators, reachable } from './graph.js';

/** Encodes a graph as an ONNX model. */

const schema = protobuf.parse(
  readFileSync(new URL('../../../proto/onnx/onnx.proto', import.meta.url), 'utf8'),
  { keepCase: true },
).root;
const modelType = schema.lookupType('onnx.ModelProto');

const elementTypes: Record<ValueType, number> = { float32: 1, int32: 6, int64: 7, bool: 9 };
const attributeTypes = { float: 1, int: 2, string: 3, graph: 5, floats: 6, ints: 7 } as const;

/** ONNX's operator set 18 needs IR version 8 or newer. */
const irVersion = 8;
const operatorSet = 18;

function bytesOf(data: ConstantData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function attribute(name: string, value: AttributeValue): Record<string, unknown> {
  if (typeof value === 'number') return { name, i: value, type: attributeTypes.int };
  if (typeof value === 'string') return { name, s: Buffer.from(value), type: attributeTypes.string };
  if ('float' in value) return { name, f: value.float, type: attributeTypes.float };
  return { name, ints: value, type: attributeTypes.ints };
}

function valueInfo({ name, value, shape = value.shape }: NamedValue) {
  const dim = shape.map((n) => (typeof n === 'string' ? { dim_param: n } : { dim_value: n }));
  return { name, type: { tensor_type: { elem_type: elementTypes[value.type], shape: { dim } } } };
}

/** An input or output of the model: a value and its name in the model. */
export interface NamedValue {
  readonly name: string;
  readonly value: Value;
  /** The shape in the model, if it differs from the traced one: axes of variable length have a name. */
  readonly shape?: readonly (number | string)[];
}

export interface ModelParts {
  readonly name: string;
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** Inputs of the graph that are constants in the model. */
  readonly folded?: ReadonlyMap<Value, ConstantData>;
}

/**
 * The bytes of an ONNX model that computes `outputs` from `inputs`. Nodes that no output depends on are left out.
 * @param contributed whether the model is for ONNX Runtime alone, so that it may use contributed operators.
 * @throws an error when it uses one although it may not: the function was traced for ONNX Runtime, not for a file.
 */
export function encodeModel(
  parts: ModelParts,
  { contributed = false }: { readonly contributed?: boolean } = {},
): Uint8Array {
  const used = contributedOf(parts.outputs);
  if (!contributed && used.length > 0) {
    throw new Error(`the model '${parts.name}' uses ${used.join(', ')}, which ONNX does not have`);
  }
  return encode(graphProto(parts), used);
}

/** A function that is called again and again: each call has its own inputs and outputs, and leaves the state for the next. */
export interface RepeatedParts extends Pick<ModelParts, 'name' | 'inputs' | 'outputs'> {
  /** What a call changes: an input of the model with the value before the first call, an output with that after the last. */
  readonly state: readonly { readonly before: NamedValue; readonly after: NamedValue }[];
  /** Inputs of the model that are the same in all calls. */
  readonly fixed: readonly NamedValue[];
}

/** The name of the leading axis of inputs and outputs that differ from call to call. */
const callsAxis = 'calls';
/** Names in the body of a scan must differ from those of the model around it. */
const inCall = (value: NamedValue): NamedValue => ({ ...value, name: `call/${value.name}` });

/**
 * The bytes of an ONNX model that makes any number of calls, one after another, as one Scan: inputs and outputs have a leading axis
 * with an entry for each call, of which there is at least one. There must be an input. The model is for ONNX Runtime alone.
 */
export function encodeRepeated({ name, inputs, outputs, state, fixed }: RepeatedParts): Uint8Array {
  const [before, after] = [state.map((entry) => entry.before), state.map((entry) => entry.after)];
  const body = graphProto({
    name: `${name}/call`,
    inputs: [...before, ...inputs].map(inCall),
    outputs: [...after, ...outputs].map(inCall),
    outer: fixed,
  });
  const scan = {
    name: callsAxis,
    op_type: 'Scan',
    input: [...before, ...inputs].map((value) => value.name),
    output: [...after, ...outputs].map((value) => value.name),
    attribute: [
      attribute('num_scan_inputs', inputs.length),
      { name: 'body', g: body, type: attributeTypes.graph },
    ],
  };
  const ofCalls = (value: NamedValue): NamedValue => ({ ...value, shape: [callsAxis, ...value.value.shape] });
  const graph = {
    name,
    node: [scan],
    input: [...before, ...fixed, ...inputs.map(ofCalls)].map(valueInfo),
    output: [...after, ...outputs.map(ofCalls)].map(valueInfo),
  };
  return encode(graph, contributedOf([...after, ...outputs]));
}

/** @param contributed the contributed operators in the graph. */
function encode(graph: Record<string, unknown>, contributed: readonly string[]): Uint8Array {
  const domains = new Set(contributed.map((operator) => contributedOperators.get(operator)!));
  domains.delete('');
  const model = modelType.fromObject({
    ir_version: irVersion,
    producer_name: 'pmpo',
    opset_import: [
      { domain: '', version: operatorSet },
      ...[...domains].map((domain) => ({ domain, version: 1 })),
    ],
    graph,
  });
  return modelType.encode(model).finish();
}

/** The contributed operators that `outputs` depend on, each once. */
function contributedOf(outputs: readonly NamedValue[]): readonly string[] {
  const operatorsOf = (values: readonly Value[]): readonly string[] =>
    reachable(values).nodes.flatMap(({ operator, body }) =>
      body === undefined ? [operator] : [operator, ...operatorsOf(body.outputs)],
    );
  const operators = new Set(operatorsOf(outputs.map(({ value }) => value)));
  return [...contributedOperators.keys()].filter((operator) => operators.has(operator));
}

/**
 * @param outer values of the graph around this one.
 * @param constantPrefix of the names of constants, which must not be those of the graph around it.
 */
function graphProto({
  name,
  inputs,
  outputs,
  folded = new Map(),
  outer = [],
  constantPrefix = '',
}: ModelParts & {
  readonly outer?: readonly NamedValue[];
  readonly constantPrefix?: string;
}): Record<string, unknown> {
  const { nodes, constants } = reachable(
    outputs.map((output) => output.value),
    new Set(outer.map(({ value }) => value)),
  );
  const { names, copies } = nameInputsAndOutputs([...inputs, ...outer], outputs);
  for (const value of constants) names.set(value, `${constantPrefix}${value.name}`);
  const nameOf = (value: Value): string => names.get(value) ?? value.name;
  const copied = copies.map(({ from, to }, i) => ({
    name: `copy_${i}`,
    op_type: 'Identity',
    input: [nameOf(from)],
    output: [to],
  }));
  const held = [...constants.map((value) => [value, value.constant!] as const), ...folded];
  return {
    name,
    node: [...nodes.map((node, i) => encodeNode(node, `${node.operator}_${i}`, nameOf)), ...copied],
    initializer: held.map(([value, data]) => ({
      name: nameOf(value),
      dims: value.shape,
      data_type: elementTypes[value.type],
      raw_data: bytesOf(data),
    })),
    input: inputs.map(valueInfo),
    output: outputs.map(valueInfo),
  };
}

/**
 * A model with metadata: facts by name, which runtimes hand to the programs that load it. The names of earlier metadata must not
 * be repeated.
 */
export function withMetadata(model: Uint8Array, metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries = Object.entries(metadata).map(([key, value]) => ({ key, value }));
  // A message of protobuf is extended by appending fields.
  return Buffer.concat([model, modelType.encode(modelType.fromObject({ metadata_props: entries })).finish()]);
}

function encodeNode(node: GraphNode, name: string, nameOf: (value: Value) => string) {
  const attributes = Object.entries(node.attributes).map(([key, value]) => attribute(key, value));
  const body = node.body === undefined ? [] : [encodeBody(node.body, name, nameOf)];
  return {
    name,
    op_type: node.operator,
    domain: contributedOperators.get(node.operator) ?? '',
    input: node.inputs.map((value) => (value === undefined ? '' : nameOf(value))),
    output: node.outputs.map(nameOf),
    attribute: [...attributes, ...body],
  };
}

/** The attribute with the body of a node. It reads values of the graph around it by their names there. */
function encodeBody({ inputs, outputs, captured }: Body, name: string, nameOf: (value: Value) => string) {
  const g = graphProto({
    name: `${name}/body`,
    inputs: inputs.map((value) => ({ name: value.name, value })),
    outputs: outputs.map((value, i) => ({ name: `${name}/body/out_${i}`, value })),
    outer: captured.map((value) => ({ name: nameOf(value), value })),
    constantPrefix: `${name}/body/`,
  });
  return { name: 'body', g, type: attributeTypes.graph };
}

/**
 * The names of inputs and outputs. An output that is also an input, a constant, or another output under another name needs a
 * copy under its own name.
 */
function nameInputsAndOutputs(inputs: readonly NamedValue[], outputs: readonly NamedValue[]) {
  const names = new Map<Value, string>(inputs.map(({ name, value }) => [value, name]));
  const copies: { from: Value; to: string }[] = [];
  for (const { name, value } of outputs) {
    if (value.node === undefined || names.has(value)) copies.push({ from: value, to: name });
    else names.set(value, name);
  }
  return { names, copies };
}
