import { fusedKernels } from '../fused.js';
import { cast, kernel, reshape } from './kernels.js';

/**
 * Kernels for the operations of ../fused.ts, each of one operator. LayerNormalization and LogSoftmax are ONNX's
 * own; the others are contributed operators.
 */

export function registerFusedKernels(): void {
  kernel(fusedKernels.layerNorm, ({ graph, input, attributes }) => {
    const [x, scale, offset] = [input('x'), input('scale'), input('offset')];
    const { type, shape } = x;
    const moment = { type, shape: [...shape.slice(0, -1), 1] };
    const epsilon = { float: attributes.epsilon as number };
    return graph.emitMany('LayerNormalization', [x, scale, offset], { axis: -1, epsilon, stash_type: 1 }, [
      { type, shape },
      moment,
      moment,
    ]);
  });
  kernel(fusedKernels.rmsNorm, ({ graph, input, attributes }) => {
    const [x, scale] = [input('x'), input('scale')];
    const { type, shape } = x;
    const epsilon = { float: attributes.epsilon as number };
    return graph.emitMany('SimplifiedLayerNormalization', [x, scale], { axis: -1, epsilon, stash_type: 1 }, [
      { type, shape },
      { type, shape: [...shape.slice(0, -1), 1] },
    ]);
  });
  kernel(fusedKernels.rotary, ({ graph, input, optionalInput }) => {
    const [x, cosines, sines] = [input('x'), input('cosines'), input('sines')];
    const [B, T, width] = x.shape as [number, number, number];
    const given = optionalInput('positions');
    const positions =
      given === undefined ? graph.integers([0]) : reshape(graph, cast(graph, given, 'int64'), [B, T]);
    const heads = width / (2 * cosines.shape[1]!);
    const [rotated] = graph.emitMany(
      'RotaryEmbedding',
      [x, positions, cosines, sines],
      { num_heads: heads },
      [{ type: x.type, shape: x.shape }],
    );
    return rotated!;
  });
  kernel(fusedKernels.logSoftmax, ({ graph, input }) => {
    const logits = input('logits');
    const { type, shape } = logits;
    return graph.emit('LogSoftmax', [logits], { axis: shape.length - 1 }, { type, shape });
  });
}
