import type { HostFeedback, HostFeedbackInput } from '../feedback/classifier.js';

/** A batch in parts, by contexts: a sample may be judged against the others of its context, so a context stays whole. */

/** Columns `from` to `to` of `rows` rows, each of `columns` cells of `width` values, row-major. */
function columnsOf<A extends Float32Array>(
  values: A,
  rows: number,
  columns: number,
  from: number,
  to: number,
): Float32Array {
  const width = values.length / (rows * columns);
  const part = new Float32Array(rows * (to - from) * width);
  for (let row = 0; row < rows; row++) {
    const start = (row * columns + from) * width;
    part.set(values.subarray(start, start + (to - from) * width), row * (to - from) * width);
  }
  return part;
}

/** The contexts `from` to `to` (exclusive) of a batch, with their samples. */
export function contextRange(input: HostFeedbackInput, from: number, to: number): HostFeedbackInput {
  const { samplesPerContext: n, contexts: b, sampleTexts, contextTexts } = input;
  if (from === 0 && to === b) return input;
  const plane = (values: Float32Array) => columnsOf(values, n, b, from, to);
  const [, , ...sampleRest] = input.sampleShape;
  const [, ...contextRest] = input.contextShape;
  return {
    samplesPerContext: n,
    contexts: to - from,
    evaluation: plane(input.evaluation),
    mask: plane(input.mask),
    baseline: input.baseline.slice(from, to),
    sampleValues: plane(input.sampleValues),
    sampleShape: [n, to - from, ...sampleRest],
    contextValues: columnsOf(input.contextValues, 1, b, from, to),
    contextShape: [to - from, ...contextRest],
    ...(contextTexts === undefined ? {} : { contextTexts: contextTexts.slice(from, to) }),
    ...(sampleTexts === undefined
      ? {}
      : { sampleTexts: sampleTexts.filter((_, i) => i % b >= from && i % b < to) }),
  };
}

/** The feedback of a whole batch from that of its parts, in order. */
export function joinContexts(
  parts: readonly HostFeedback[],
  samples: number,
  contexts: number,
): HostFeedback {
  const [whole] = parts;
  if (whole !== undefined && parts.length === 1) return whole;
  const join = (side: 'accept' | 'reject') => {
    const joined = new Float32Array(samples * contexts);
    let from = 0;
    for (const { [side]: weights } of parts) {
      const width = weights.length / samples;
      for (let row = 0; row < samples; row++) {
        joined.set(weights.subarray(row * width, (row + 1) * width), row * contexts + from);
      }
      from += width;
    }
    return joined;
  };
  return { accept: join('accept'), reject: join('reject') };
}
