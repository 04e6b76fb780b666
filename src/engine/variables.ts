import { PmpoError } from '../core/errors.js';
import type { NamedVariables, Variable } from './tensors.js';
import * as tf from './tf.js';

/** Updates of whole trees of variables, for use inside compiled functions. */

/** The pairs of two trees of the same names and shapes. @throws PmpoError naming the first that differs. */
function paired(from: NamedVariables, to: NamedVariables): readonly (readonly [Variable, Variable])[] {
  for (const name of Object.keys(to)) {
    if (from[name] === undefined) throw new PmpoError({ where: `variable '${name}'`, what: 'has no source' });
  }
  return Object.entries(from).map(([name, source]) => {
    const target = to[name];
    const where = `variable '${name}'`;
    if (target === undefined) throw new PmpoError({ where, what: 'has no target' });
    if (!tf.util.arraysEqual(source.shape, target.shape)) {
      throw new PmpoError({
        where,
        what: `has the shape [${source.shape}], its target has [${target.shape}]`,
      });
    }
    return [source, target];
  });
}

/** Gives each variable of `to` the value of the one of the same name in `from`: a periodic target network. */
export function copyVariables(from: NamedVariables, to: NamedVariables): void {
  for (const [source, target] of paired(from, to)) target.assign(tf.clone(source));
}

/**
 * Moves each variable of `to` towards the one of the same name in `from`: to ← to + rate · (from − to), an exponential
 * moving average with `rate` in (0, 1].
 */
export function moveTowards(from: NamedVariables, to: NamedVariables, rate: number): void {
  tf.tidy(() => {
    for (const [source, target] of paired(from, to)) {
      target.assign(tf.add(target, tf.mul(tf.sub(source, target), rate)));
    }
  });
}
