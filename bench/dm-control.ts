import { availableParallelism } from 'node:os';
import { median } from '../src/core/statistics.js';
import { connectOverSharedStreams } from '../src/dm-env-rpc/client/shared-streams.js';
import { createVectorEnvironment } from '../src/environments/create-vector-environment.js';
import { load, machine } from './support/machine.js';
import { pythonOf, ratioOf, runPython, withServer } from './support/peers.js';
import { family, processorSeconds } from './support/processes.js';

/**
 * `npm run bench dm-control [TASK] [ROUNDS] [STEPS]`: steps per second of a DM Control task on `pmpo serve dm-control` with our
 * client, for 1, 4 and 16 environments on a stream each, and for 16 on as many streams as there are cores. A round takes STEPS
 * steps, summed over the environments.
 *
 * Compares this, in turn, with dm_env_rpc's own Python client on one world of the same server, and with the same number of
 * simulators stepped in Python without a server, in one or two processes per core, whichever is faster. All sides request all
 * observations and take the same actions.
 */

const [task = 'walker-walk', roundsGiven = '5', stepsGiven = '6000'] = process.argv.slice(2);
const rounds = Number(roundsGiven);
const stepsInAll = Number(stepsGiven);
/** Numbers of environments, and of those that share a stream. */
const cases = [
  { numEnvs: 1, envsPerStream: 1 },
  { numEnvs: 4, envsPerStream: 1 },
  { numEnvs: 16, envsPerStream: 1 },
  { numEnvs: 16, envsPerStream: Math.ceil(16 / availableParallelism()) },
];
const warmUp = 50;

/**
 * Steps per second, the processor time per step of client and server in microseconds, and how many of the server's processes did a
 * tenth of its work or more: fewer than there are streams if the kernel has given several streams to one.
 */
async function ours(address: string, server: number, numEnvs: number, envsPerStream: number, steps: number) {
  const environments = await createVectorEnvironment({
    connect: connectOverSharedStreams({
      numEnvs,
      envsPerStream,
      optionsOf: () => ({
        address,
        deadlineSeconds: 30,
        createSettings: { simulator: `suite/${task}` },
        reuseArrays: true,
      }),
    }),
    numEnvs,
    episodeSeed: (index, episode) => 1000 * index + episode,
    // Environments need not wait for the slowest one.
    lockstep: false,
    reconnect: { attempts: 0, initialDelaySeconds: 1, maxDelaySeconds: 1 },
    notice: (message) => console.error(message),
  });
  const { actionSize } = environments;
  const actions = new Float32Array(numEnvs * actionSize);
  const step = (t: number) => {
    for (let i = 0; i < actions.length; i++) actions[i] = Math.sin(0.1 * t + (i % actionSize));
    return environments.step(actions);
  };
  try {
    await environments.reset();
    for (let t = 0; t < 2 * warmUp; t++) await step(t);
    const serving = family(server);
    const before = serving.map((pid) => processorSeconds([pid]));
    const [started, cpu] = [performance.now(), process.cpuUsage()];
    let taken = 0;
    for (let t = 0; taken < steps * numEnvs; t++) {
      const { ready } = await step(t);
      for (const isReady of ready) taken += isReady;
    }
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    const spent = serving.map((pid, i) => processorSeconds([pid]) - before[i]);
    const ofServer = spent.reduce((sum, one) => sum + one, 0);
    return {
      stepsPerSecond: taken / seconds,
      client: (user + system) / taken,
      server: (1e6 * ofServer) / taken,
      busyProcesses: spent.filter((one) => one > ofServer / 10).length,
    };
  } finally {
    await environments.close();
  }
}

/** The name of a case in the output, as in earlier results. */
const nameOf = (numEnvs: number, envsPerStream: number) =>
  envsPerStream === 1 ? `worlds${numEnvs}` : `worlds${numEnvs}by${envsPerStream}`;

const python = await pythonOf('simulator_server');

async function pythonClient(address: string, steps: number): Promise<number> {
  return Number(
    await runPython(python, 'environment_python_client.py', [address, `suite/${task}`, 1, steps]),
  );
}

async function inProcess(numEnvs: number, steps: number): Promise<number> {
  const counts = [1, 2].map((factor) => Math.min(numEnvs, factor * availableParallelism()));
  const speeds: number[] = [];
  for (const processes of new Set(counts)) {
    const output = await runPython(python, 'dm_control_in_process.py', [task, numEnvs, steps, processes]);
    speeds.push(Number(output));
  }
  return Math.max(...speeds);
}

const loadBefore = load();
const results = await withServer(['dm-control'], async (address, pid) => {
  const found: Record<string, object> = {};
  for (const { numEnvs, envsPerStream } of cases) {
    const steps = Math.ceil(stepsInAll / numEnvs);
    const sides = { pmpo: [] as number[], inProcess: [] as number[], pythonClient: [] as number[] };
    const all: Awaited<ReturnType<typeof ours>>[] = [];
    for (let round = 0; round < rounds; round++) {
      const own = await ours(address, pid, numEnvs, envsPerStream, steps);
      all.push(own);
      sides.pmpo.push(own.stepsPerSecond);
      sides.inProcess.push(await inProcess(numEnvs, steps));
      sides.pythonClient.push(await pythonClient(address, Math.ceil(stepsInAll / 4)));
      const latest = Object.entries(sides).map(([name, speeds]) => `${name} ${speeds.at(-1)!.toFixed(0)}`);
      console.error(`${nameOf(numEnvs, envsPerStream)}, round ${round + 1}, steps/s: ${latest.join(', ')}`);
    }
    const { pmpo, inProcess: local, pythonClient: theirs } = sides;
    found[nameOf(numEnvs, envsPerStream)] = {
      stepsPerSecond: { pmpo: median(pmpo), inProcess: median(local), pythonClientOneWorld: median(theirs) },
      clientMicrosecondsPerStep: median(all.map(({ client }) => client)),
      serverMicrosecondsPerStep: median(all.map(({ server }) => server)),
      busyServerProcesses: all.map(({ busyProcesses }) => busyProcesses),
      ratioToInProcess: ratioOf(pmpo, local),
      ratioToPythonClientOneWorld: ratioOf(pmpo, theirs),
    };
  }
  return found;
});
console.log(
  JSON.stringify(
    { benchmark: 'dm-control', machine: machine(loadBefore), task, rounds, ...results },
    undefined,
    2,
  ),
);
