import { PmpoError } from '../../core/errors.js';
import { sizeOf } from '../../core/shape.js';
import type { NamedSpecs } from '../../environments/environment.js';
import { isNumeric } from '../../environments/tensor-data.js';

/**
 * The observations that dm_env_rpc reserves, as far as a world offers them: `reward`, and `discount` if the server sends its own.
 * @param size the number of simulators in the world.
 * @throws PmpoError if one of them is not one number for each simulator.
 */
export function reservedObservations(where: string, specs: NamedSpecs, size = 1): readonly string[] {
  return ['reward', 'discount'].filter((name) => {
    const spec = specs[name];
    if (spec === undefined) return false;
    const isScalar = spec.shape.every((n) => n > 0) && sizeOf(spec.shape) === size;
    if (isScalar && isNumeric(spec.dtype)) return true;
    throw new PmpoError({
      where,
      what: `the observation '${name}' is ${spec.dtype} of the shape [${spec.shape}], and must be one number${size === 1 ? '' : ` for each of ${size} simulators`}`,
      remedy: `Change the server so that '${name}' is a scalar, such as the sum of the objectives`,
    });
  });
}
