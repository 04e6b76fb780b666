import { sizeOf } from '../../core/shape.js';
import type { Numbers } from './program.js';

/**
 * Writes rows into an array in place, as ONNX's ScatterND does.
 *
 * @param data the array, of shape `shape`
 * @param indices [rows, depth], integers: the index of each row along the first `depth` axes; negative ones count from the end
 * @param updates [rows, ..the other axes]
 * @throws Error when an index is out of bounds; then nothing is written.
 */
export function scatterRows(
  data: Numbers,
  shape: readonly number[],
  indices: Numbers,
  depth: number,
  updates: Numbers,
): void {
  const size = sizeOf(shape.slice(depth));
  const rows = indices.length / depth;
  const offsets = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    let offset = 0;
    for (let axis = 0; axis < depth; axis++) {
      const [index, length] = [indices[row * depth + axis]!, shape[axis]!];
      if (index < -length || index >= length) {
        throw new Error(`the index ${index} is out of bounds for axis ${axis} of the shape [${shape}]`);
      }
      offset = offset * length + (index < 0 ? index + length : index);
    }
    offsets[row] = offset * size;
  }
  for (let row = 0; row < rows; row++) {
    const [from, to] = [row * size, offsets[row]!];
    for (let i = 0; i < size; i++) data[to + i] = updates[from + i]!;
  }
}
