import { PmpoError } from '../core/errors.js';
import { checkHostTensor, toTensor } from './host-tensors.js';
import type { HostTensor, Variable } from './tensors.js';
import * as tf from './tf.js';

/**
 * The variables of one engine. TensorFlow.js has one table of variables by name for the whole process, in which its optimizers
 * look up names. An engine installs its own table only while its functions run, so that two engines may both have a variable
 * `policy/weight`.
 */
export class VariableScope {
  #variables: Record<string, Variable> = {};
  readonly #backend: string;

  /** @param onCreate called with every variable that is made while this scope's functions run, before it is used. */
  constructor(backend: string, onCreate?: (variable: Variable) => void) {
    this.#backend = backend;
    if (onCreate === undefined) return;
    this.#variables = new Proxy(this.#variables, {
      set: (table, name, variable: Variable) => {
        onCreate(variable);
        return Reflect.set(table, name, variable);
      },
    });
  }

  /** Runs `fn` on this engine's backend with this engine's variables registered. */
  within<T>(fn: () => T): T {
    const { state } = tf.engine();
    const outer = state.registeredVariables;
    const outerBackend = tf.engine().backendName;
    state.registeredVariables = this.#variables;
    useBackend(this.#backend);
    try {
      return fn();
    } finally {
      this.#variables = state.registeredVariables;
      state.registeredVariables = outer;
      // Changing the backend sets up all of its kernels again. Only tracing, which may run inside of another engine's
      // function, needs the change undone.
      if (this.#backend === traceBackendName) useBackend(outerBackend);
    }
  }

  /** @throws PmpoError when the name is taken or the data do not fill the shape. */
  create(name: string, initial: HostTensor): Variable {
    checkHostTensor(`variable '${name}'`, initial);
    if (this.#variables[name] !== undefined) {
      throw new PmpoError({ where: `variable '${name}'`, what: 'already exists in this engine' });
    }
    return this.within(() => tf.tidy(() => tf.variable(toTensor(initial), true, name)));
  }

  /** Removes a variable from the table; its tensor stays as it is. */
  forget(variable: Variable): void {
    delete this.#variables[variable.name];
  }

  /** @throws PmpoError when the variable was made by another engine. */
  checkOwns(variable: Variable): void {
    if (this.#variables[variable.name] === variable) return;
    throw new PmpoError({ where: `variable '${variable.name}'`, what: 'belongs to another engine' });
  }

  get variables(): readonly Variable[] {
    return Object.values(this.#variables);
  }

  dispose(): void {
    this.within(() => {
      for (const variable of this.variables) variable.dispose();
    });
  }
}

/** The name under which the tracing backend is registered. */
export const traceBackendName = 'pmpo-trace';

function useBackend(name: string | undefined): void {
  if (name === undefined || tf.engine().backendName === name) return;
  // For a backend that is initialized, setBackend does all of its work before it returns its promise.
  void tf.setBackend(name);
}

/**
 * Chooses a backend for operations outside of an engine if none was chosen. Otherwise TensorFlow.js would take the tracing backend for
 * them, which was registered last.
 */
export async function chooseBackend(): Promise<void> {
  if (!tf.engine().backendName) await tf.setBackend('cpu');
}

/** @throws PmpoError when `value` has another shape than the variable. */
export function checkAssignable(variable: Variable, value: HostTensor): void {
  const where = `variable '${variable.name}'`;
  checkHostTensor(where, value);
  if (tf.util.arraysEqual(variable.shape, value.shape as number[])) return;
  throw new PmpoError({ where, what: `has the shape [${variable.shape}], the value has [${value.shape}]` });
}
