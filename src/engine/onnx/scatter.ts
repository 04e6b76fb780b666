import { sizeOf } from '../../core/shape.js';
import type { Numbers } from './program.js';

/**
 * Writes rows into an array in place, as ONNX's ScatterND does.
 *
 * @param data of `shape`
 * @param indices [rows, depth]: a row's place along the first `depth` axes; counted from the end where negative
 * @param updates [rows, ..the other axes]
 * @throws Error when an index is out of bounds; then nothing has been written.
 */
export function scatterRows(
  data: Numbers,
  shape: readonly number[],
  indices: Int32Array,
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
        throw new Error(`the index ${index} is not in axis ${axis} of [${shape}]`);
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
