import { PmpoError } from '../../core/errors.js';
import { checkResults, guardedInputs, toHost } from '../host-tensors.js';
import { withoutRandomness } from '../randomness.js';
import { VariableScope } from '../scope.js';
import type { HostTensor, Tensor, TensorFunction, Variable } from '../tensors.js';
import * as tf from '../tf.js';
import { Graph, reachable, type Value, type ValueType } from './graph.js';
import { preparedTracingBackend } from './kernel-registry.js';
import { cast } from './kernels.js';

/** The element type and shape of an input, all that a trace knows of it. */
export interface InputType {
  readonly dtype: 'float32' | 'int32';
  readonly shape: readonly number[];
}

/** A value of the graph and the variable that holds it before or after a call. */
export interface VariableValue {
  readonly variable: Variable;
  readonly value: Value;
}

/** What a function does, recorded once for one set of input shapes. */
export interface Trace {
  readonly inputs: readonly { readonly name: string; readonly value: Value }[];
  /** Variables whose value at the start is used. */
  readonly reads: readonly VariableValue[];
  /** Variables assigned to, with their value at the end. */
  readonly writes: readonly VariableValue[];
  readonly outputs: readonly { readonly name: string; readonly value: Value; readonly isBoolean: boolean }[];
  /** Variables made by the function itself (an optimizer's slots), with their first value, a constant expression. */
  readonly created: readonly VariableValue[];
}

/**
 * Records TensorFlow.js functions over one engine's variables. Each variable's tensor is its *home*, a tensor on the
 * tracing backend that stands for "the variable's value at the start"; assigning to it while tracing puts another tensor
 * in its place, which is the value at the end, and the home is put back when the trace is done.
 */
export class Tracer {
  readonly scope: VariableScope;
  readonly #backend = preparedTracingBackend();
  readonly #homes = new Map<Variable, object>();
  #created: VariableValue[] | undefined;
  #claimed: { readonly variable: Variable; readonly initial: HostTensor }[] = [];

  readonly #foreign: 'claim' | 'constant';

  /** @param foreign what becomes of variables made elsewhere: the engine's own, or constants of their present value. */
  constructor(foreign: 'claim' | 'constant' = 'claim') {
    this.#foreign = foreign;
    this.scope = new VariableScope('pmpo-trace', (variable) => this.#adopt(variable));
  }

  /** Gives a new variable its home, and notes what it was made from when a function being traced made it. */
  #adopt(variable: Variable): void {
    const type = variable.dtype as ValueType;
    const initial = this.#created === undefined ? undefined : this.#backend.graphValue(variable);
    const home = this.#backend.addHome(variable.name, type, variable.shape);
    variable.dataId = home;
    this.#homes.set(variable, home);
    if (initial !== undefined) this.#created!.push({ variable, value: initial });
  }

  /** Makes a variable from outside, such as the counters of TensorFlow.js' own optimizers, one of this engine's. */
  #claim(variable: Variable): void {
    if (this.#homes.has(variable) || this.#backend.isTraced(variable.dataId)) return;
    if (this.#backend.isHome(variable.dataId)) {
      throw new PmpoError({ where: `variable '${variable.name}'`, what: 'belongs to another engine' });
    }
    if (this.#foreign === 'constant') return;
    this.#claimed.push({ variable, initial: toHost(variable) });
    const engine = tf.engine();
    engine.disposeTensor(variable);
    variable.dataId = this.#backend.addHome(variable.name, variable.dtype as ValueType, variable.shape);
    engine.incRef(variable, this.#backend);
    this.#homes.set(variable, variable.dataId);
  }

  /** The variables claimed since the last call, with their values. */
  takeClaimed(): readonly { readonly variable: Variable; readonly initial: HostTensor }[] {
    return this.#claimed.splice(0);
  }

  /** @throws PmpoError naming what in `fn` cannot be recorded. */
  trace(name: string, fn: TensorFunction, types: ReadonlyMap<string, InputType>): Trace {
    const graph = new Graph();
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
                (variable) => this.#backend.isTraced(variable.dataId) && !this.#homes.has(variable),
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
      for (const [variable, home] of this.#homes) variable.dataId = home;
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
      return { inputs: entering, outputs, created, ...this.#variableValues() };
    } finally {
      engine.endScope();
    }
  }

  #variableValues(): Pick<Trace, 'reads' | 'writes'> {
    const reads: VariableValue[] = [];
    const writes: VariableValue[] = [];
    for (const [variable, home] of this.#homes) {
      const before = this.#backend.importedVariable(home);
      if (before !== undefined) reads.push({ variable, value: before });
      if (variable.dataId === home) continue;
      const after = this.#backend.graphValue(variable);
      if (after !== before) writes.push({ variable, value: after });
    }
    return { reads, writes };
  }

  #forget(variable: Variable): void {
    const home = this.#homes.get(variable);
    if (home !== undefined) this.#backend.removeHome(home);
    this.#homes.delete(variable);
    this.scope.forget(variable);
  }

  dispose(): void {
    for (const variable of [...this.#homes.keys()]) this.#forget(variable);
  }
}

function refuseUnread(name: string, variable: Variable | undefined): void {
  if (variable === undefined) return;
  throw new PmpoError({
    where: `variable '${variable.name}'`,
    what: `was made outside of the engine and is assigned to in '${name}' without being read`,
    remedy: 'Make it with engine.variable',
  });
}

function refuseTracedInitial(name: string, variable: Variable, initial: Value): void {
  if (reachable([initial]).inputs.length === 0) return;
  throw new PmpoError({
    where: `variable '${variable.name}' made in '${name}'`,
    what: 'its first value depends on an input or another variable',
    remedy: 'Make it from constants (tf.zerosLike, tf.fill), or before with engine.variable',
  });
}
