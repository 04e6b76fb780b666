// `labeling-server.mjs PORT START`: a server for tests that kill it. Its observations are labels, (START, number of the episode in
// this process, steps since the reset, sum of the actions since the reset), which show whether two observations are of the same
// episode. The reward is the number of steps. Episodes with an even number end in a terminal state; the others are truncated.

import { serveEnvironments } from '../../dist/dm-env-rpc/server/serve-environments.js';

const [port, start] = process.argv.slice(2).map(Number);
const lengthOfEpisode = 17;
let episodes = 0;

/** @returns {import('../../dist/environments/environment.js').Environment} */
function labelingEnvironment() {
  let [episode, count, sum] = [0, 0, 0];
  const dtype = /** @type {const} */ ('float64');
  const observation = () => ({
    label: { dtype, shape: [4], data: Float64Array.of(start, episode, count, sum) },
  });
  return {
    observationSpec: { label: { name: 'label', shape: [4], dtype } },
    actionSpec: { push: { name: 'push', shape: [1], dtype, minimum: -1, maximum: 1 } },
    async reset() {
      episodes += 1;
      [episode, count, sum] = [episodes, 0, 0];
      return { observation: observation(), info: {} };
    },
    async step(action) {
      count += 1;
      sum += Number(action.push.data[0]);
      const isLast = count === lengthOfEpisode;
      const terminated = isLast && episode % 2 === 0;
      const truncated = isLast && !terminated;
      return { observation: observation(), reward: count, terminated, truncated, info: {} };
    },
    async close() {},
  };
}

const server = await serveEnvironments({ createEnvironment: async () => labelingEnvironment(), port });
process.stdout.write(`${server.port}\n`);
