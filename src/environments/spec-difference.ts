import { isDeepStrictEqual } from 'node:util';
import { foreignText, nameList, quotedName } from '../core/foreign-text.js';
import type { Environment, NamedSpecs, TensorSpec } from './environment.js';

/** The specs of an environment. */
export type EnvironmentSpecs = Pick<Environment, 'observationSpec' | 'actionSpec'>;

const shown = (value: unknown) => {
  if (value === undefined) return 'none';
  return foreignText(typeof value === 'object' ? JSON.stringify(value) : String(value), 60);
};

/** The first element in which two bounds differ, where both have one number for each element. */
function boundDifference(property: string, own: TensorSpec['minimum'], other: TensorSpec['minimum']): string {
  if (typeof own !== 'object' || typeof other !== 'object' || own.length !== other.length)
    return `the ${property} ${shown(own)}, not ${shown(other)}`;
  const i = own.findIndex((value, k) => !Object.is(value, other[k]));
  return `the ${property} ${own[i]} of element ${i}, not ${other[i]}`;
}

function namedDifference(kind: string, own: NamedSpecs, others: NamedSpecs): string | undefined {
  const missing = Object.keys(others).filter((name) => !Object.hasOwn(own, name));
  const surplus = Object.keys(own).filter((name) => !Object.hasOwn(others, name));
  if (missing.length > 0 || surplus.length > 0) {
    const parts = [
      missing.length > 0 && `lacks ${nameList(missing)}`,
      surplus.length > 0 && `has also ${nameList(surplus)}`,
    ];
    return `among its ${kind}s it ${parts.filter(Boolean).join(', and ')}`;
  }
  for (const [name, spec] of Object.entries(own)) {
    const other = others[name];
    const where = `its ${kind} ${quotedName(name)} has`;
    if (spec.dtype !== other.dtype) return `${where} the dtype ${spec.dtype}, not ${other.dtype}`;
    if (!isDeepStrictEqual(spec.shape, other.shape))
      return `${where} the shape ${shown(spec.shape)}, not ${shown(other.shape)}`;
    for (const property of ['minimum', 'maximum'] as const) {
      const [bound, otherBound] = [spec[property], other[property]];
      if (!isDeepStrictEqual(bound, otherBound))
        return `${where} ${boundDifference(property, bound, otherBound)}`;
    }
  }
  return undefined;
}

/**
 * The first difference between the specs of an environment and those expected of it, in words such as "its observation 'x' has the
 * shape [3], not [2]"; undefined if there is none.
 */
export function specDifference(own: EnvironmentSpecs, expected: EnvironmentSpecs): string | undefined {
  return (
    namedDifference('observation', own.observationSpec, expected.observationSpec) ??
    namedDifference('action', own.actionSpec, expected.actionSpec)
  );
}
