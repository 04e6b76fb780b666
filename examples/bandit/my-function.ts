import { pathToFileURL } from 'node:url';
import { createEngine, tf } from 'pmpo/engine';
import { topK } from 'pmpo/feedback';
import { type BanditLearnerConfig, type SearchFunction, trainBandit } from 'pmpo/learners';
import { dpo, pmpo } from 'pmpo/operators';

/** Himmelblau's function of two variables: four minima, in each of which it is 0. */
export const himmelblau: SearchFunction = {
  name: 'himmelblau',
  domain: [-5, 5],
  evaluate(points) {
    const [x, y] = tf.split(points, 2, -1);
    const first = tf.square(tf.sub(tf.add(tf.square(x), y), 11));
    const second = tf.square(tf.sub(tf.add(x, tf.square(y)), 7));
    return tf.squeeze(tf.add(first, second), [-1]);
  },
};

const methods = [
  { name: 'accepted and rejected', operator: pmpo({ alpha: 0.5, beta: 1 }), learningRate: 0.01 },
  { name: 'accepted alone', operator: pmpo({ alpha: 1, beta: 0.5 }), learningRate: 0.01 },
  { name: 'rejected alone', operator: pmpo({ alpha: 0, beta: 2 }), learningRate: 0.01 },
  { name: 'DPO', operator: dpo({ beta: 1 }), learningRate: 0.01 },
];

const config: BanditLearnerConfig = {
  dimensions: 2,
  policy: { head: 'gaussian', initialStddev: 0.3 },
  reference: { period: 20, copies: 100 },
  learner: { samples: 4, contexts: 1, decayFrom: 0.5 },
};

/** Searches with every method and eight seeds in one graph, and gives each method's values of f at the end. */
export async function searchHimmelblau(copies = config.reference.copies): Promise<Map<string, number[]>> {
  const engine = await createEngine('auto');
  try {
    const { traces } = await trainBandit({
      engine,
      config: { ...config, reference: { ...config.reference, copies } },
      functions: [himmelblau],
      methods,
      seeds: [0, 1, 2, 3, 4, 5, 6, 7],
      classifier: topK({ accept: 2, reject: 2 }),
    });
    const ends = (name: string) =>
      traces.filter(({ method }) => method === name).map(({ points }) => points[points.length - 1].value);
    return new Map(methods.map(({ name }) => [name, ends(name)]));
  } finally {
    await engine.dispose();
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const [name, values] of await searchHimmelblau()) {
    const sorted = values.toSorted((a, b) => a - b).map((value) => value.toExponential(1));
    console.log(`${name.padEnd(24)}${sorted.join('  ')}`);
  }
}
