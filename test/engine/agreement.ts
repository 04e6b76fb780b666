import { fillNormal, foldIn, randomKey } from '../../src/core/random-keys.js';
import { sizeOf } from '../../src/core/shape.js';
import { createEngine } from '../../src/engine/create.js';
import type { Engine } from '../../src/engine/engine.js';
import type { HostTensor, NamedHostTensors, NamedTensors } from '../../src/engine/tensors.js';

/** For tests of engines: the same function on the engine `cpu` and traced by the engine `onnx`. */

export const floats = (shape: readonly number[], ...data: number[]): HostTensor<Float32Array> => ({
  shape,
  data: Float32Array.from(data),
});
export const integers = (shape: readonly number[], ...data: number[]): HostTensor<Int32Array> => ({
  shape,
  data: Int32Array.from(data),
});

/** Standard normal numbers. */
export function normal(seed: number | string, ...shape: number[]): HostTensor<Float32Array> {
  return { shape, data: fillNormal(foldIn(randomKey(0), seed), new Float32Array(sizeOf(shape))) };
}

/** Two engines whose results must agree. */
export interface Pair {
  readonly eager: Engine;
  readonly traced: Engine;
  /** Runs `fn` on both engines. */
  run(
    fn: (inputs: NamedTensors) => NamedTensors,
    inputs: NamedHostTensors,
  ): Promise<{ eager: NamedHostTensors; traced: NamedHostTensors }>;
  dispose(): Promise<void>;
}

export async function createPair(): Promise<Pair> {
  const [eager, traced] = [await createEngine('cpu'), await createEngine('onnx')];
  return {
    eager,
    traced,
    run: async (fn, inputs) => {
      const [left, right] = [eager.jit('test', fn), traced.jit('test', fn)];
      try {
        return { eager: await left.run(inputs), traced: await right.run(inputs) };
      } finally {
        left.dispose();
        right.dispose();
      }
    },
    dispose: async () => {
      await eager.dispose();
      await traced.dispose();
    },
  };
}

/**
 * Describes the first element in which two results differ by more than `tolerance`, relative to the largest number of the
 * tensor; undefined if there is none. Shapes and element types must be equal; NaN and infinities must be in the same elements.
 */
export function disagreement(
  expected: NamedHostTensors,
  found: NamedHostTensors,
  tolerance = 1e-5,
): string | undefined {
  const names = Object.keys(expected).sort();
  if (`${names}` !== `${Object.keys(found).sort()}`) return `names ${Object.keys(found)} instead of ${names}`;
  for (const name of names) {
    const [left, right] = [expected[name]!, found[name]!];
    if (`${left.shape}` !== `${right.shape}`)
      return `${name}: shape [${right.shape}] instead of [${left.shape}]`;
    if (left.data.constructor !== right.data.constructor) return `${name}: the element types differ`;
    const finite = [...left.data].filter(Number.isFinite).map(Math.abs);
    const scale = Math.max(1, ...finite);
    for (const [i, value] of left.data.entries()) {
      const other = right.data[i]!;
      if (Object.is(value, other) || value === other) continue;
      if (!(Math.abs(value - other) <= tolerance * scale))
        return `${name}[${i}]: ${other} instead of ${value}`;
    }
  }
  return undefined;
}
