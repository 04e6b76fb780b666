import { afterEach, describe, expect, it } from 'vitest';
import { disagreement, normal } from '../../../test/engine/agreement.js';
import { createEngine } from '../create.js';
import type { Engine } from '../engine.js';
import { rmsNormWithInverse, rotateHeads } from '../fused.js';
import { overParts } from '../parts.js';
import type { NamedTensors } from '../tensors.js';
import { encodeModel } from './model.js';
import { runModel } from './open-export.js';
import { type InputType, Tracer } from './trace.js';

let engine: Engine | undefined;
afterEach(() => engine?.dispose());

const shapes = { x: [2, 3, 4], scale: [4], cosines: [3, 2], sines: [3, 2] };
const norm = ({ x, scale }: NamedTensors) => ({ y: rmsNormWithInverse(x!, scale!, 1e-5).normal });
const rotary = ({ x, cosines, sines }: NamedTensors) => ({ y: rotateHeads(x!, cosines!, sines!) });

describe.each([
  ['SimplifiedLayerNormalization', norm],
  ['RotaryEmbedding', rotary],
] as const)('a model with %s', (operator, fn) => {
  const types = new Map<string, InputType>(
    Object.entries(shapes).map(([name, shape]) => [name, { dtype: 'float32', shape }]),
  );
  const inParts = (inputs: NamedTensors) =>
    overParts({ x: inputs.x! }, 2, ({ x }) => ({ sums: {}, rows: fn({ ...inputs, x }) })).rows;

  it.each([
    ['itself', fn],
    ['in a body', inParts],
  ])('is refused as a file: the operator %s', (_, fn) => {
    const { inputs, outputs } = new Tracer().trace('fused', fn, types, { contributed: true });
    const parts = { name: 'fused', inputs, outputs };
    expect(() => encodeModel(parts)).toThrow(`the model 'fused' uses ${operator}, which ONNX does not have`);
    expect(encodeModel(parts, { contributed: true })).toBeInstanceOf(Uint8Array);
  });

  it('is not what the engine exports', async () => {
    engine = await createEngine('onnx');
    const inputs = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, normal(name, ...shape)]),
    );
    const bytes = await engine.exportOnnx('exported', inParts, shapes);
    const found = await runModel(bytes, inputs);
    expect(disagreement(await engine.jit('run', inParts).run(inputs), found)).toBeUndefined();
  });
});
