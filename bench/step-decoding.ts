import { median } from '../src/core/statistics.js';
import { decodeResponse, environmentService } from '../src/dm-env-rpc/codec/messages.js';
import { StepDecoder } from '../src/dm-env-rpc/codec/step-decoder.js';
import { packTensor, unpackTensor } from '../src/dm-env-rpc/codec/tensors.js';
import type { DType, TensorSpec } from '../src/environments/environment.js';
import { flattenObservations } from '../src/environments/observation-layout.js';
import { emptyData } from '../src/environments/tensor-data.js';

/**
 * `npm run bench step-decoding [ROUNDS]`: microseconds to convert the bytes of a step's response to a learner's float32 vector.
 * Compares decoding directly into preallocated arrays with the general decoder, in turn; prints medians and their ratio.
 */

const rounds = Number(process.argv[2] ?? 15);
const answers: Record<string, Record<string, [DType, number[]]>> = {
  walker: { height: ['float64', []], orientations: ['float64', [14]], velocity: ['float64', [9]] },
  dog: { state: ['float64', [223]] },
  pixels: { pixels: ['uint8', [64, 64, 3]] },
};

function measure(shapes: Record<string, [DType, number[]]>) {
  const specs = Object.entries({ reward: ['float64', []] as [DType, number[]], ...shapes }).map(
    ([name, [dtype, shape]], i) => [String(i + 1), { name, dtype, shape }] as [string, TensorSpec],
  );
  const observations = Object.fromEntries(
    specs.map(([uid, { dtype, shape }]) => {
      const data = emptyData(
        dtype,
        shape.reduce((a, b) => a * b, 1),
      ) as unknown as number[];
      for (let i = 0; i < data.length; i++) data[i] = i / 3;
      return [uid, packTensor({ dtype, shape, data: data as never })];
    }),
  );
  const bytes: Buffer = environmentService.Process.responseSerialize({ step: { state: 1, observations } });
  const { reward: _, ...observed } = Object.fromEntries(specs.map(([, spec]) => [spec.name, spec]));
  const flattener = flattenObservations(observed);
  const out = new Float32Array(flattener.size);
  const decoder = StepDecoder.of(specs)!;
  const work = {
    direct() {
      if (decoder.decode(bytes) === undefined) throw new Error('the direct decoder gave up');
      flattener.write(decoder.values, out, 0);
    },
    general() {
      const { observations: found = {} } = decodeResponse(bytes).step!;
      const values = Object.fromEntries(specs.map(([uid, { name }]) => [name, unpackTensor(found[uid]!)]));
      flattener.write(values, out, 0);
    },
  };
  const times = { direct: [] as number[], general: [] as number[] };
  for (let round = -2; round < rounds; round++) {
    for (const side of ['direct', 'general'] as const) {
      const started = performance.now();
      for (let i = 0; i < 3000; i++) work[side]();
      if (round >= 0) times[side].push((1000 * (performance.now() - started)) / 3000);
    }
  }
  const microseconds = { direct: median(times.direct), general: median(times.general) };
  return { bytes: bytes.length, microseconds, ratio: microseconds.general / microseconds.direct };
}

const results = Object.fromEntries(Object.entries(answers).map(([name, shapes]) => [name, measure(shapes)]));
console.log(JSON.stringify({ benchmark: 'step-decoding', rounds, ...results }));
