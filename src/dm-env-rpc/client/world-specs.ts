import { PmpoError } from '../../core/errors.js';
import { quotedName } from '../../core/foreign-text.js';
import { sizeOf } from '../../core/shape.js';
import type { NamedSpecs, TensorSpec } from '../../environments/environment.js';
import { emptyData, isNumeric } from '../../environments/tensor-data.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import type { ByUid } from '../codec/messages.js';
import { unpackSpec } from '../codec/tensors.js';

/** The specs of a world as its server sends them: by name, and within limits. */

/** Limits on the specs of a world, far above those of any simulator. */
export const specLimits = { specs: 4096, actionElements: 2 ** 18, worldName: 1024 } as const;

/** Specs by name, and the uid of each name. @throws PmpoError for more specs than a world may have, and for unusable or equal names. */
export function namedSpecs(
  kind: 'actions' | 'observations',
  specs: ByUid<wire.TensorSpec> | undefined,
  where: string,
): { specs: NamedSpecs; uids: Map<string, string> } {
  const entries = Object.entries(specs ?? {});
  if (entries.length > specLimits.specs) {
    const what = `the server offers ${entries.length} ${kind}, and a world may have ${specLimits.specs}`;
    throw new PmpoError({ where, what });
  }
  const uids = new Map<string, string>();
  const byName: Record<string, TensorSpec> = {};
  for (const [uid, message] of entries) {
    const spec = located(where, () => unpackSpec(message));
    // Values are kept by name in plain objects, where this name means something else.
    if (spec.name === '__proto__') {
      const what = `one of its ${kind} is named '__proto__', which cannot be told from a part of JavaScript`;
      throw new PmpoError({ where, what, remedy: 'Rename it on the server' });
    }
    if (uids.has(spec.name)) {
      throw new PmpoError({ where, what: `two of its ${kind} are named ${quotedName(spec.name)}` });
    }
    uids.set(spec.name, uid);
    byName[spec.name] = spec;
  }
  return { specs: byName, uids };
}

/** Does `work`, and adds the place to an error that does not name the server. */
export function located<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PmpoError)) throw error;
    const { where: inside, what, remedy } = error.details;
    throw new PmpoError({
      where: inside === undefined ? where : `${where}, ${inside}`,
      what,
      remedy,
      cause: error,
    });
  }
}

/** The number of elements of a spec, of which an axis of any length counts as one. */
export const elementsOf = ({ shape }: TensorSpec) => sizeOf(shape.map((n) => (n < 0 ? 1 : n)));

/** The bytes of a tensor in memory; a text or a message of any length counts as the reference to one. */
export const bytesOf = (spec: TensorSpec) =>
  elementsOf(spec) * (isNumeric(spec.dtype) ? emptyData(spec.dtype, 0).BYTES_PER_ELEMENT : 8);
