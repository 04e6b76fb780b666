import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as tf from './tf.js';

interface Script {
  generatedModules(): Promise<readonly { readonly path: string; readonly text: string }[]>;
}

it('has the exports, gradients and methods of the installed version of TensorFlow.js', async () => {
  const script = (await import(
    new URL('../../scripts/tfjs-registrations.mjs', import.meta.url).href
  )) as Script;
  // If this fails, the modules are older than the installed version: run `npm run build`.
  for (const { path, text } of await script.generatedModules()) expect(readFileSync(path, 'utf8')).toBe(text);
});

it('has gradients, those that call operations outside the public interface included', async () => {
  await tf.setBackend('cpu');
  const image = tf.tensor4d([1, 2, 3, 4], [1, 2, 2, 1]);
  const pooled = tf.grad((x) => tf.sum(tf.maxPool(x as tf.Tensor4D, 2, 2, 'valid')))(image);
  expect([...pooled.dataSync()]).toEqual([0, 0, 0, 1]);
  expect(
    tf
      .grad((x) => tf.square(x))(tf.scalar(3))
      .dataSync()[0],
  ).toBe(6);
});

it('has the methods of tensors', () => {
  expect([...tf.tensor1d([1, 2]).mul(2).sub(1).dataSync()]).toEqual([1, 3]);
});
