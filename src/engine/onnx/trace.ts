import { PmpoError } from '../../core/errors.js';
import { checkResults, guardedInputs, toHost } from '../host-tensors.js';
import { withoutRandomness } from '../randomness.js';
import { VariableScope } from '../scope.js';
import type { HostTensor, Tensor, TensorFunction, Variable } from '../tensors.js';
import * as tf from '../tf.js';
import { Graph, reachable, type Value } from './graph.js';
import { preparedTracingBackend } from './kernel-registry.js';
import { cast } from './kernels.js';
import { valueType } from './tracing-backend.js';

/** The element type and shape of an input; its values are not known while tracing. */
export interface InputType {
  readonly dtype: 'float32' | 'int32';
  readonly shape: readonly number[];
}

/** A variable, and the graph value that it holds before or after a call. */
export interface VariableValue {
  readonly variable: Variable;
  readonly value: Value;
}

/** A recording of a function for one combination of input shapes. */
export interface Trace {
  readonly inputs: readonly { readonly name: string; readonly value: Value }[];
  /** Variables that the function reads, with their value at the start of the call. */
  readonly reads: readonly VariableValue[];
  /** Variables that the function assigns to, with their value at the end of the call. */
  readonly writes: readonly VariableValue[];
  readonly outputs: readonly { readonly name: string; readonly value: Value; readonly isBoolean: boolean }[];
  /** Variables that the function has made (slots of an optimizer), with their initial value, a constant expression. */
  readonly created: readonly VariableValue[];
}

export interface TraceOptions {
  /** Whether the trace is one of several that differ in the lengths of axes; see Graph. Default: false. */
  readonly openLengths?: boolean;
  /** Whether it may use operators that ONNX Runtime has and ONNX does not. Default: false. */
  readonly contributed?: boolean;
}

/**
 * Records TensorFlow.js functions that use the variables of one engine. Between traces, each variable holds a *placeholder*: a
 * tensor of the tracing backend that represents the value at the start of a call. Assigning to the variable while tracing
 * replaces the placeholder by the tensor that represents the value at the end; after the trace, the placeholder is restored.
 */
export class Tracer {
  readonly scope: VariableScope;
  readonly #backend = preparedTracingBackend();
  readonly #placeholders = new Map<Variable, object>();
  #created: VariableValue[] | undefined;
  #claimed: { readonly variable: Variable; readonly initial: HostTensor }[] = [];

  readonly #foreign: 'claim' | 'constant';

  /** @param foreign whether variables made elsewhere become variables of this engine, or constants with their current value. */
  constructor(foreign: 'claim' | 'constant' = 'claim') {
    this.#foreign = foreign;
    this.scope = new VariableScope('pmpo-trace', (variable) => this.#adopt(variable));
  }

  /** Gives a new variable its placeholder; if a function that is being traced made it, keeps its initial value. */
  #adopt(variable: Variable): void {
    const type = valueType(variable.dtype);
    const initial = this.#created === undefined ? undefined : this.#backend.graphValue(variable);
    const placeholder = this.#backend.addPlaceholder(variable.name, type, variable.shape);
    variable.dataId = placeholder;
    this.#placeholders.set(variable, placeholder);
    if (initial !== undefined) this.#created!.push({ variable, value: initial });
  }

  /** Turns a variable made elsewhere, such as a counter of a TensorFlow.js optimizer, into one of this engine. */
  #claim(variable: Variable): void {
    if (this.#placeholders.has(variable) || this.#backend.isTraced(variable.dataId)) return;
    if (this.#backend.isPlaceholder(variable.dataId)) {
      throw new PmpoError({ where: `variable '${variable.name}'`, what: 'belongs to another engine' });
    }
    if (this.#foreign === 'constant') return;
    this.#claimed.push({ variable, initial: toHost(variable) });
    const engine = tf.engine();
    engine.disposeTensor(variable);
    variable.dataId = this.#backend.addPlaceholder(variable.name, valueType(variable.dtype), variable.shape);
    engine.incRef(variable, this.#backend);
    this.#placeholders.set(variable, variable.dataId);
  }

  /** The variables claimed since the last call of this method, with their values. */
  takeClaimed(): readonly { readonly variable: Variable; readonly initial: HostTensor }[] {
    return this.#claimed.splice(0);
  }

  /** @throws PmpoError that names what in `fn` cannot be recorded. */
  trace(
    name: string,
    fn: TensorFunction,
    types: ReadonlyMap<string, InputType>,
    { openLengths = false, contributed = false }: TraceOptions = {},
  ): Trace {
    const graph = new Graph('', { openLengths, contributed });
    const created: VariableValue[] = [];
    this.#created = created;
    const outside = Object.values(tf.engine().registeredVariables);
    try {
      return this.scope.within(() =>
        this.#backend.record(
          graph,
          name,
          (variable) => this.#claim(variable),
          () => {
            const trace = this.#record(graph, name, fn, types, created);
            refuseUnread(
              name,
              outside.find(
                (variable) => this.#backend.isTraced(variable.dataId) && !this.#placeholders.has(variable),
              ),
            );
            return trace;
          },
        ),
      );
    } catch (error) {
      for (const { variable } of created) this.#forget(variable);
      throw error;
    } finally {
      this.#created = undefined;
      for (const [variable, placeholder] of this.#placeholders) variable.dataId = placeholder;
    }
  }

  #record(
    graph: Graph,
    name: string,
    fn: TensorFunction,
    types: ReadonlyMap<string, InputType>,
    created: readonly VariableValue[],
  ): Trace {
    const engine = tf.engine();
    const entering = [...types].map(([input, { dtype, shape }]) => ({
      name: input,
      value: graph.input(input, dtype, shape),
    }));
    engine.startScope(name);
    try {
      const tensors: Record<string, Tensor> = {};
      for (const { name: input, value } of entering) {
        tensors[input] = engine.makeTensorFromTensorInfo(this.#backend.wrap(value));
      }
      const results = withoutRandomness(name, () => fn(guardedInputs(name, tensors)));
      checkResults(name, results);
      for (const { variable, value } of created) refuseTracedInitial(name, variable, value);
      const outputs = Object.entries(results).map(([output, tensor]) => {
        const value = this.#backend.graphValue(tensor);
        return {
          name: output,
          value: cast(graph, value, value.type === 'bool' ? 'int32' : value.type),
          isBoolean: value.type === 'bool',
        };
      });
      const variables = this.#variableValues();
      refuseLeakedParts(name, graph, [...outputs, ...variables.writes]);
      return { inputs: entering, outputs, created, ...variables };
    } finally {
      engine.endScope();
    }
  }

  #variableValues(): Pick<Trace, 'reads' | 'writes'> {
    // First what is written: the value may be that of another variable, which is read for this alone.
    const assigned = [...this.#placeholders].flatMap(([variable, placeholder]) =>
      variable.dataId === placeholder ? [] : [{ variable, value: this.#backend.graphValue(variable) }],
    );
    const before = new Map<Variable, Value>();
    for (const [variable, placeholder] of this.#placeholders) {
      const value = this.#backend.importedVariable(placeholder);
      if (value !== undefined) before.set(variable, value);
    }
    const reads = [...before].map(([variable, value]) => ({ variable, value }));
    const writes = assigned.filter(({ variable, value }) => value !== before.get(variable));
    return { reads, writes };
  }

  #forget(variable: Variable): void {
    const placeholder = this.#placeholders.get(variable);
    if (placeholder !== undefined) this.#backend.removePlaceholder(placeholder);
    this.#placeholders.delete(variable);
    this.scope.forget(variable);
  }

  dispose(): void {
    for (const variable of [...this.#placeholders.keys()]) this.#forget(variable);
  }
}

function refuseUnread(name: string, variable: Variable | undefined): void {
  if (variable === undefined) return;
  throw new PmpoError({
    where: `variable '${variable.name}'`,
    what: `was made outside of the engine, and '${name}' assigns to it without reading it`,
    remedy: 'Make it with engine.variable',
  });
}

function refuseLeakedParts(name: string, graph: Graph, results: readonly { readonly value: Value }[]): void {
  const { inputs } = reachable(results.map(({ value }) => value));
  if (!inputs.some((input) => graph.partInputs.has(input))) return;
  throw new PmpoError({
    where: `function '${name}'`,
    what: 'a tensor of one part is used outside of it, or assigned to a variable',
    remedy: 'Return it from the function that is given to overParts',
  });
}

function refuseTracedInitial(name: string, variable: Variable, initial: Value): void {
  if (reachable([initial]).inputs.length === 0) return;
  throw new PmpoError({
    where: `variable '${variable.name}' made in '${name}'`,
    what: 'its initial value depends on an input or another variable',
    remedy: 'Make it from constants (tf.zerosLike, tf.fill), or outside of the function with engine.variable',
  });
}
