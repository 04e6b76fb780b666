import { tf } from 'pmpo/engine';
import { pmpo } from 'pmpo/operators';

// A Gaussian policy over the plane looks for the minimum of a function, at (3, -2), by accepting the best 2 of 4 samples.
const target = tf.tensor1d([3, -2]);
const distance = (points: tf.Tensor) => tf.sum(tf.square(tf.sub(points, target)), -1);
const [N, B] = [4, 8]; // samples per context, contexts (all alike here)
const gaussian = () => ({ mean: tf.variable(tf.zeros([2])), logStd: tf.variable(tf.zeros([2])) });
const [policy, reference] = [gaussian(), gaussian()];
const optimizer = tf.train.adam(0.01);
const operator = pmpo({ alpha: 0.5, beta: 1 });

/** log π_θ(y|x) of samples [N, B, 2], as [N, B]. */
function logProb(samples: tf.Tensor): tf.Tensor2D {
  const error = tf.div(tf.sub(samples, policy.mean), tf.exp(policy.logStd));
  const logDensity = tf.add(tf.mul(-0.5, tf.square(error)), -0.5 * Math.log(2 * Math.PI));
  return tf.sum(tf.sub(logDensity, policy.logStd), -1);
}

/** KL(reference ‖ policy), the part of the mean and that of the covariance, each [B, 2]. */
function kl() {
  const ratio = tf.exp(tf.mul(2, tf.sub(reference.logStd, policy.logStd)));
  const shift = tf.square(tf.div(tf.sub(reference.mean, policy.mean), tf.exp(policy.logStd)));
  const ofEachContext = (part: tf.Tensor): tf.Tensor2D =>
    tf.mul(0.5, tf.tile(tf.reshape(part, [1, 2]), [B, 1]));
  const covariance = tf.sub(tf.sub(ratio, 1), tf.log(ratio));
  return { exact: true, parts: { mean: ofEachContext(shift), covariance: ofEachContext(covariance) } };
}

for (let update = 1; update <= 500; update++) {
  tf.tidy(() => {
    const noise = tf.randomNormal([N, B, 2], 0, 1, 'float32', update);
    const samples = tf.add(reference.mean, tf.mul(tf.exp(reference.logStd), noise));
    const value = tf.neg(distance(samples));
    const secondBest = tf.min(tf.topk(tf.transpose(value), 2).values, -1);
    const accept = tf.cast(tf.greaterEqual(value, secondBest), 'float32') as tf.Tensor2D;
    const reject: tf.Tensor2D = tf.sub(1, accept);
    const loss = () => operator.loss({ logProb: logProb(samples), accept, reject, kl }).loss;
    optimizer.minimize(loss, false, [policy.mean, policy.logStd]);
  });
  if (update % 20 === 0) {
    reference.mean.assign(policy.mean);
    reference.logStd.assign(policy.logStd);
  }
  if (update % 100 === 0) console.log(`${update}: ${distance(policy.mean).dataSync()[0]}`);
}
