import { PmpoError } from '../core/errors.js';

/**
 * Runs the body of a compiled function with `Math.random` out of reach, from which TensorFlow.js' random operations draw
 * their seeds where they are given none. A traced function draws once, when it is traced: what looks random would be the
 * same numbers at every call. The engines that do not trace refuse it too, so that a function works on all or on none, and
 * a seed makes every run the same. With a seed of their own such operations give constants anyway, and may be used.
 *
 * @throws PmpoError naming the function when it asks for a random number.
 */
export function withoutRandomness<T>(functionName: string, body: () => T): T {
  const { random } = Math;
  Math.random = () => {
    throw new PmpoError({
      where: `function '${functionName}'`,
      what: 'it draws random numbers (Math.random, or tf.randomNormal and others without a seed), which a compiled function would do only once',
      remedy: 'Draw them outside and pass them in as an input',
    });
  };
  try {
    return body();
  } finally {
    Math.random = random;
  }
}
