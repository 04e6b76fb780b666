import { PmpoError } from '../../core/errors.js';
import type { Compiled, Engine, EngineName, UntypedCompiled } from '../engine.js';
import { guardedInputs, Signature, toHost, toTensor, withCheckedResults } from '../host-tensors.js';
import { withoutRandomness } from '../randomness.js';
import { checkAssignable, VariableScope } from '../scope.js';
import type {
  HostTensor,
  InputShapes,
  NamedHostTensors,
  TensorFields,
  TensorFunction,
  Variable,
} from '../tensors.js';
import * as tf from '../tf.js';

/** Writes a function as an ONNX model, with the current values of the variables that it uses as constants. */
export type Exporter = (
  name: string,
  fn: TensorFunction,
  inputs: Readonly<Record<string, readonly number[]>>,
  dynamicBatch: boolean,
) => Promise<Uint8Array>;

/** Runs compiled functions operation by operation on a TensorFlow.js backend, which must be registered and initialized. */
export class EagerEngine implements Engine {
  readonly name: EngineName;
  readonly #scope: VariableScope;
  readonly #exporter: Exporter;

  constructor(name: EngineName, backend: string, exporter: Exporter) {
    this.name = name;
    this.#scope = new VariableScope(backend);
    this.#exporter = exporter;
  }

  variable(name: string, initial: HostTensor): Variable {
    return this.#scope.create(name, initial);
  }

  jit<I extends TensorFields<I>, O extends TensorFields<O>>(
    name: string,
    fn: (inputs: I) => O,
  ): Compiled<I, O>;
  jit(name: string, fn: TensorFunction): UntypedCompiled {
    const checked = withCheckedResults(name, fn);
    const signature = new Signature(name);
    let disposed = false;
    return {
      // All work is done before the promise is returned, so that calls keep their order.
      run: async (inputs: NamedHostTensors) => {
        if (disposed) throw new PmpoError({ where: `function '${name}'`, what: 'has been disposed of' });
        signature.check(inputs);
        return this.#call(name, checked, inputs);
      },
      dispose: () => {
        disposed = true;
      },
    };
  }

  async read(variables: readonly Variable[]): Promise<HostTensor[]> {
    return variables.map((variable) => {
      this.#scope.checkOwns(variable);
      return toHost(variable);
    });
  }

  async write(variable: Variable, value: HostTensor): Promise<void> {
    this.#scope.checkOwns(variable);
    checkAssignable(variable, value);
    this.#scope.within(() => {
      const tensor = toTensor(value);
      variable.assign(tensor);
      tensor.dispose();
    });
  }

  exportOnnx<I extends TensorFields<I>, O extends TensorFields<O>>(
    name: string,
    fn: (inputs: I) => O,
    inputs: InputShapes<NoInfer<I>>,
    dynamicBatch?: boolean,
  ): Promise<Uint8Array>;
  exportOnnx(
    name: string,
    fn: TensorFunction,
    inputs: Readonly<Record<string, readonly number[]>>,
    dynamicBatch = false,
  ): Promise<Uint8Array> {
    return this.#exporter(name, fn, inputs, dynamicBatch);
  }

  async dispose(): Promise<void> {
    this.#scope.dispose();
  }

  #call(name: string, fn: TensorFunction, inputs: NamedHostTensors): NamedHostTensors {
    return this.#scope.within(() => {
      tf.engine().startScope(name);
      try {
        const tensors = Object.fromEntries(
          Object.entries(inputs).map(([key, value]) => [key, toTensor(value)]),
        );
        const results = withoutRandomness(name, () => fn(guardedInputs(name, tensors)));
        return Object.fromEntries(Object.entries(results).map(([key, value]) => [key, toHost(value)]));
      } finally {
        tf.engine().endScope();
      }
    });
  }
}
