import { availableParallelism } from 'node:os';
import { median } from '../src/core/statistics.js';
import { batchedConnect } from '../src/dm-env-rpc/client/shared-streams.js';
import { createVectorEnvironment } from '../src/environments/create-vector-environment.js';
import { pythonOf, ratioOf, runPython, withServer } from './support/peers.js';

/**
 * `npm run bench dm-control [TASK] [ROUNDS] [STEPS]`: steps per second of a DM Control task on `pmpo serve dm-control` through
 * our client with 1, 4 and 16 worlds on a stream each, and with 16 on as many streams as there are cores, STEPS in each
 * round over all worlds. Against, in turn, dm_env_rpc's own Python client on one world of the same server, and the same
 * simulators in Python without any server, with as many worlds: once in one process for each core and once in two,
 * whichever is faster. All sides ask for all observations and play the same actions.
 */

const [task = 'walker-walk', roundsGiven = '5', stepsGiven = '6000'] = process.argv.slice(2);
const rounds = Number(roundsGiven);
const stepsInAll = Number(stepsGiven);
/** How many worlds there are, and how many of them share a stream. */
const cases = [
  { size: 1, envsPerStream: 1 },
  { size: 4, envsPerStream: 1 },
  { size: 16, envsPerStream: 1 },
  { size: 16, envsPerStream: Math.ceil(16 / availableParallelism()) },
];
const warmUp = 50;

/** Steps per second, and how much of a processor's time the client took for each step. */
async function ours(address: string, size: number, envsPerStream: number, steps: number) {
  const worlds = await createVectorEnvironment({
    connect: batchedConnect({
      size,
      envsPerStream,
      optionsOf: () => ({
        address,
        deadlineSeconds: 30,
        createSettings: { simulator: `suite/${task}` },
        reuseArrays: true,
      }),
    }),
    numEnvs: size,
    episodeSeed: (world, episode) => 1000 * world + episode,
    // No world waits for the slowest one.
    lockstep: false,
    reconnect: { attempts: 0, initialDelaySeconds: 1, maxDelaySeconds: 1 },
    notice: (message) => console.error(message),
  });
  const { actionSize } = worlds;
  const actions = new Float32Array(size * actionSize);
  const step = (t: number) => {
    for (let i = 0; i < actions.length; i++) actions[i] = Math.sin(0.1 * t + (i % actionSize));
    return worlds.step(actions);
  };
  try {
    await worlds.reset();
    for (let t = 0; t < 2 * warmUp; t++) await step(t);
    const [started, cpu] = [performance.now(), process.cpuUsage()];
    let taken = 0;
    for (let t = 0; taken < steps * size; t++) {
      const { ready } = await step(t);
      for (const isReady of ready) taken += isReady;
    }
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { stepsPerSecond: taken / seconds, clientMicroseconds: (user + system) / taken };
  } finally {
    await worlds.close();
  }
}

const nameOf = (size: number, envsPerStream: number) =>
  envsPerStream === 1 ? `worlds${size}` : `worlds${size}by${envsPerStream}`;

const python = await pythonOf('simulator_server');

async function pythonClient(address: string, steps: number): Promise<number> {
  return Number(
    await runPython(python, 'environment_python_client.py', [address, `suite/${task}`, 1, steps]),
  );
}

async function inProcess(size: number, steps: number): Promise<number> {
  const counts = [1, 2].map((factor) => Math.min(size, factor * availableParallelism()));
  const speeds: number[] = [];
  for (const processes of new Set(counts)) {
    speeds.push(Number(await runPython(python, 'dm_control_in_process.py', [task, size, steps, processes])));
  }
  return Math.max(...speeds);
}

const results = await withServer(['dm-control'], async (address) => {
  const found: Record<string, object> = {};
  for (const { size, envsPerStream } of cases) {
    const steps = Math.ceil(stepsInAll / size);
    const sides = { pmpo: [] as number[], inProcess: [] as number[], pythonClient: [] as number[] };
    const clientMicroseconds: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const own = await ours(address, size, envsPerStream, steps);
      clientMicroseconds.push(own.clientMicroseconds);
      sides.pmpo.push(own.stepsPerSecond);
      sides.inProcess.push(await inProcess(size, steps));
      sides.pythonClient.push(await pythonClient(address, Math.ceil(stepsInAll / 4)));
      const said = Object.entries(sides).map(([name, all]) => `${name} ${all.at(-1)!.toFixed(0)}`);
      console.error(`${nameOf(size, envsPerStream)}, round ${round + 1}, steps/s: ${said.join(', ')}`);
    }
    const { pmpo, inProcess: local, pythonClient: theirs } = sides;
    found[nameOf(size, envsPerStream)] = {
      stepsPerSecond: { pmpo: median(pmpo), inProcess: median(local), pythonClientOneWorld: median(theirs) },
      clientMicrosecondsPerStep: median(clientMicroseconds),
      ratioToInProcess: ratioOf(pmpo, local),
      ratioToPythonClientOneWorld: ratioOf(pmpo, theirs),
    };
  }
  return found;
});
console.log(
  JSON.stringify({ benchmark: 'dm-control', task, cores: availableParallelism(), rounds, ...results }),
);
