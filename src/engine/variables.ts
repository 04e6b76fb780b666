import { PmpoError } from '../core/errors.js';
import type { NamedVariables, Variable } from './tensors.js';
import * as tf from './tf.js';

/** Updates of named variables, for use inside compiled functions. */

/** Pairs of variables of the same name. @throws PmpoError when names or shapes differ, naming the first difference. */
function pairs(from: NamedVariables, to: NamedVariables): readonly (readonly [Variable, Variable])[] {
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

/**
 * Copies each variable of `from` into the variable of the same name in `to`, as for a periodically updated target network.
 * Call it inside a compiled function.
 * @throws PmpoError when the names or shapes in `from` and `to` differ.
 */
export function copyVariables(from: NamedVariables, to: NamedVariables): void {
  for (const [source, target] of pairs(from, to)) target.assign(tf.clone(source));
}

/**
 * Moves each variable of `to` toward the variable of the same name in `from`: to ← to + rate · (from − to), with `rate` in
 * (0, 1], as for a target network that is an exponential moving average. Call it inside a compiled function.
 * @throws PmpoError when the names or shapes in `from` and `to` differ.
 */
export function moveTowards(from: NamedVariables, to: NamedVariables, rate: number): void {
  tf.tidy(() => {
    for (const [source, target] of pairs(from, to)) {
      target.assign(tf.add(target, tf.mul(tf.sub(source, target), rate)));
    }
  });
}
