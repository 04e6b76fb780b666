import { median } from '../src/core/statistics.js';
import { RemoteEnvironment } from '../src/dm-env-rpc/client/remote-environment.js';
import { createVectorEnvironment } from '../src/environments/create-vector-environment.js';
import { round } from './support/figures.js';
import { load, machine } from './support/machine.js';
import { pythonOf, ratioOf, runPython, withServer } from './support/peers.js';
import { processorTimes } from './support/processes.js';

/**
 * `npm run bench environment [ROUNDS]`: remote steps per second on cartpole_swingup over 1 and 16 streams. Compares our client
 * with dm_env_rpc's own Python client, in turn, on the same embedded server in a separate process, with all observations
 * requested; prints medians and their ratio, and what a step of ours costs: its time, and the processor time of client and server in
 * their own code and in the kernel.
 */

const simulator = 'cartpole_swingup';
const rounds = Number(process.argv[2] ?? 5);
const stepsPerStream: Record<number, number> = { 1: 3000, 16: 500 };
/** How many times as many steps as the Python client's ours should make, by the number of streams. */
const goals = { streams1: 3, streams16: 5 };

/** Microseconds of a step. */
interface StepCost {
  readonly wall: number;
  readonly client: number;
  readonly clientInKernel: number;
  readonly server: number;
  readonly serverInKernel: number;
}

async function ours(address: string, server: number, streams: number, steps: number): Promise<StepCost> {
  const environments = await createVectorEnvironment({
    connect: () =>
      RemoteEnvironment.connect({
        address,
        deadlineSeconds: 30,
        createSettings: { simulator },
        reuseArrays: true,
      }),
    numEnvs: streams,
    episodeSeed: (index, episode) => 1000 * index + episode,
    reconnect: { attempts: 0, initialDelaySeconds: 1, maxDelaySeconds: 1 },
    notice: (message) => console.error(message),
  });
  const actions = new Float32Array(streams * environments.actionSize);
  await environments.reset();
  for (let t = 0; t < 100; t++) await environments.step(actions);
  const before = { client: processorTimes([process.pid]), server: processorTimes([server]) };
  const started = performance.now();
  for (let t = 0; t < steps; t++) await environments.step(actions);
  const seconds = (performance.now() - started) / 1000;
  const after = { client: processorTimes([process.pid]), server: processorTimes([server]) };
  await environments.close();
  const ofStep = (all: number) => (1e6 * all) / (streams * steps);
  const used = (of: keyof typeof after, where: 'own' | 'kernel') =>
    ofStep(after[of][where] - before[of][where]);
  return {
    wall: ofStep(seconds),
    client: used('client', 'own'),
    clientInKernel: used('client', 'kernel'),
    server: used('server', 'own'),
    serverInKernel: used('server', 'kernel'),
  };
}

const python = await pythonOf('dm_env_rpc');

async function theirs(address: string, streams: number, steps: number): Promise<number> {
  return Number(
    await runPython(python, 'environment_python_client.py', [address, simulator, streams, steps]),
  );
}

const loadBefore = load();
const results = await withServer(['simulators'], async (address, server) => {
  const found: Record<string, object> = {};
  for (const [streams, steps] of Object.entries(stepsPerStream).map(([s, n]) => [Number(s), n])) {
    const [pmpo, pythonClient]: [number[], number[]] = [[], []];
    const costs: StepCost[] = [];
    for (let turn = 0; turn < rounds; turn++) {
      const cost = await ours(address, server, streams, steps);
      costs.push(cost);
      pmpo.push(1e6 / cost.wall);
      pythonClient.push(await theirs(address, streams, steps));
      console.error(
        `${streams} streams, round ${turn + 1}: ${pmpo[turn].toFixed(0)} against ${pythonClient[turn].toFixed(0)} steps/s`,
      );
    }
    const { median: medianRatio, ...ratios } = ratioOf(pmpo, pythonClient);
    found[`streams${streams}`] = {
      stepsPerSecond: { pmpo: median(pmpo), pythonClient: median(pythonClient) },
      medianRatio,
      ratios,
      microsecondsPerStep: Object.fromEntries(
        Object.keys(costs[0]!).map((part) => [
          part,
          round(median(costs.map((cost) => cost[part as keyof StepCost]))),
        ]),
      ),
    };
  }
  return found;
});
console.log(
  JSON.stringify(
    { benchmark: 'environment', machine: machine(loadBefore), simulator, rounds, goals, ...results },
    undefined,
    2,
  ),
);
