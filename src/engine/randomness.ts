import { PmpoError } from '../core/errors.js';

/**
 * Runs the body of a compiled function while `Math.random` throws. TensorFlow.js' random operations take their seed from it if
 * they are not given one. A traced function would draw random numbers only once, while it is traced, and use the same numbers
 * in every call. Engines that do not trace refuse unseeded random numbers too, so that a function works on all engines or on
 * none. Operations with a seed are constants, and allowed.
 *
 * @throws PmpoError that names the function when it asks for a random number.
 */
export function withoutRandomness<T>(functionName: string, body: () => T): T {
  const { random } = Math;
  Math.random = () => {
    throw new PmpoError({
      where: `function '${functionName}'`,
      what: 'it draws random numbers (Math.random, or an operation such as tf.randomNormal without a seed), which a compiled function would do only once',
      remedy: 'Draw them outside of the function and pass them in as an input',
    });
  };
  try {
    return body();
  } finally {
    Math.random = random;
  }
}
