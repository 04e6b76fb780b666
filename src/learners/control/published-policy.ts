import { PmpoError } from '../../core/errors.js';
import { decodeSafetensors, encodeSafetensors } from '../../core/safetensors.js';
import type { NamedHostTensors } from '../../engine/tensors.js';

/** A policy as the learner publishes it to its actors: a safetensors file whose metadata gives the number of updates behind it. */

const where = 'the published policy';

/** The file of a policy after `updates` updates. */
export function packPolicy(tensors: NamedHostTensors, updates: number): Buffer {
  const safe = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, data }]) => [
      name,
      { dtype: data instanceof Float32Array ? ('F32' as const) : ('I32' as const), shape, data },
    ]),
  );
  return Buffer.concat(encodeSafetensors({ tensors: safe, metadata: { updates: String(updates) } }));
}

/** @throws PmpoError when the bytes are not a published policy. */
export function unpackPolicy(bytes: Uint8Array): NamedHostTensors {
  const { tensors } = decodeSafetensors(bytes, where);
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
      if (!(data instanceof Float32Array || data instanceof Int32Array)) {
        throw new PmpoError({ where, what: `tensor '${name}' is ${dtype}; policies hold F32 and I32` });
      }
      return [name, { shape, data }];
    }),
  );
}
