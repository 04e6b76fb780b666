import type { Engine, UntypedCompiled } from '../../engine/engine.js';
import type { NamedHostTensors } from '../../engine/tensors.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';

/** A call and the time until its result, in milliseconds on the recorder's clock. */
export interface Span {
  /** Calls of one track do not overlap but where they queue: `environments`, or a compiled function. */
  readonly track: string;
  readonly start: number;
  readonly end: number;
}

/** Times the calls that pass through the objects that it wraps, while it records. */
export class SpanRecorder {
  readonly spans: Span[] = [];
  isRecording = false;
  readonly #clock: () => number;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  async time<T>(track: string, call: () => Promise<T>): Promise<T> {
    const start = this.#clock();
    const isRecorded = this.isRecording;
    try {
      return await call();
    } finally {
      if (isRecorded) this.spans.push({ track, start, end: this.#clock() });
    }
  }

  /** An engine whose compiled functions are timed by their names. */
  engine(engine: Engine): Engine {
    return this.#with(engine, {
      jit: (name: string, fn: never): UntypedCompiled => {
        const compiled: UntypedCompiled = engine.jit(name, fn);
        return {
          run: (inputs: NamedHostTensors) => this.time(name, () => compiled.run(inputs)),
          dispose: () => compiled.dispose(),
        };
      },
    });
  }

  /** Environments whose steps are timed, all of them together. */
  environment(environment: VectorEnvironment): VectorEnvironment {
    return this.#with(environment, {
      step: (actions: Float32Array) => this.time('environments', () => environment.step(actions)),
    });
  }

  /** The object with some of its methods replaced. */
  #with<T extends object>(target: T, replaced: Readonly<Record<string, unknown>>): T {
    return new Proxy(target, {
      get: (object, key) => {
        if (typeof key === 'string' && key in replaced) return replaced[key];
        const value: unknown = Reflect.get(object, key, object);
        return typeof value === 'function' ? value.bind(object) : value;
      },
    });
  }
}
