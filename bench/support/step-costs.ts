import { fillNormal, foldIn, randomKey } from '../../src/core/random-keys.js';
import { median } from '../../src/core/statistics.js';
import { RemoteEnvironment } from '../../src/dm-env-rpc/client/remote-environment.js';
import { createEngine } from '../../src/engine/create.js';
import type { Engine } from '../../src/engine/engine.js';
import type { NamedHostTensors } from '../../src/engine/tensors.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { NamedTensorValues, TensorValue } from '../../src/environments/environment.js';
import { ReplaceablePolicy } from '../../src/learners/control/acting-policy.js';
import { packPolicy, unpackPolicy } from '../../src/learners/control/published-policy.js';
import { RedisConnection } from '../../src/replay/redis/connection.js';
import { runKeys } from '../../src/replay/redis/keys.js';
import { ChunkBuilder, unpackChunk } from '../../src/replay/redis/packing.js';
import { ReplayReader } from '../../src/replay/redis/replay-reader.js';
import { newestPolicy, ReplayWriter } from '../../src/replay/redis/replay-writer.js';
import { bytesPerTransition } from '../../src/replay/transition-shape.js';
import { TransitionStore } from '../../src/replay/transition-store.js';
import { createSimulator } from '../../src/simulators/registry.js';
import { round } from './figures.js';
import { startOwnServer } from './peers.js';
import { processorSeconds } from './processes.js';
import { createAgent, defaults, iterations, ours, sizes, updatesAtHand } from './update-side.js';

/** What each part of a step of a run with remote actors costs, measured one by one. */

/** Microseconds of one unit of work: of wall time, and of the processor time of this process and of a server. */
export interface Cost {
  readonly wall: number;
  readonly here: number;
  readonly server?: number;
}

const repetitions = 5;
const shape = { observationSize: sizes.observations, actionSize: sizes.actions };

/**
 * Times `work`, which does `units` units of work: the median of several repetitions, after one that is not timed.
 * @param server the process whose time counts as the server's.
 */
async function cost(units: number, work: () => Promise<void> | void, server?: number): Promise<Cost> {
  await work();
  const found: { wall: number; here: number; server: number }[] = [];
  for (let i = 0; i < repetitions; i++) {
    const [cpu, started] = [process.cpuUsage(), performance.now()];
    const before = server === undefined ? 0 : processorSeconds([server]);
    await work();
    const wall = 1000 * (performance.now() - started);
    const { user, system } = process.cpuUsage(cpu);
    const other = server === undefined ? 0 : 1e6 * (processorSeconds([server]) - before);
    found.push({ wall: wall / units, here: (user + system) / units, server: other / units });
  }
  const of = (key: 'wall' | 'here' | 'server') => round(median(found.map((one) => one[key])), 3);
  return { wall: of('wall'), here: of('here'), ...(server === undefined ? {} : { server: of('server') }) };
}

const normal = (name: string, size: number) => fillNormal(foldIn(randomKey(3), name), new Float32Array(size));

/** Acting: from observations to actions, of K environments at once, and publishing the policy that acts. */
async function policyCosts(engine: Engine, actorEngine: Engine) {
  const { agent, config, family } = createAgent(engine, 'pmpo', 4);
  const names = Object.keys(agent.parameters.actingPolicy);
  const read = async (): Promise<NamedHostTensors> => {
    const values = await engine.read(Object.values(agent.parameters.actingPolicy));
    return Object.fromEntries(names.map((name, i) => [name, values[i]]));
  };
  const packed = packPolicy(await read(), 0);
  const acting = new ReplaceablePolicy(actorEngine, { config, family, ...shape });
  await acting.replace(unpackPolicy(packed));
  const act = (environments: number) => {
    const observations = normal('observations', environments * shape.observationSize);
    const noise = normal('noise', environments * shape.actionSize);
    return cost(300 * environments, async () => {
      for (let i = 0; i < 300; i++) await acting.act(observations, noise, environments);
    });
  };
  return {
    packed,
    costs: {
      actingAloneEachStep: await act(1),
      actingOf16EachStep: await act(16),
      policyReadAndPacked: await cost(50, async () => {
        for (let i = 0; i < 50; i++) packPolicy(await read(), i);
      }),
      policyUnpackedAndReplaced: await cost(50, async () => {
        for (let i = 0; i < 50; i++) await acting.replace(unpackPolicy(packed));
      }),
    },
  };
}

/** A step of the simulator by itself, and through its server: what the second costs more is the wire. */
async function simulatorCosts(simulator: string) {
  const direct = await createSimulator({ simulator, seed: 1 });
  const [name, { dtype, shape: actionShape }] = Object.entries(direct.actionSpec)[0]!;
  const zeros = { dtype, shape: actionShape, data: new Float64Array(shape.actionSize) };
  const action: NamedTensorValues = { [name]: zeros as TensorValue };
  await direct.reset();
  const alone = await cost(500, async () => {
    for (let i = 0; i < 500; i++) {
      const { terminated, truncated } = await direct.step(action);
      if (terminated || truncated) await direct.reset();
    }
  });
  await direct.close();
  const server = await startOwnServer(['simulators']);
  try {
    const through = async (numEnvs: number) => {
      const environments = await createVectorEnvironment({
        connect: () =>
          RemoteEnvironment.connect({
            address: server.address,
            deadlineSeconds: 30,
            createSettings: { simulator },
            reuseArrays: true,
          }),
        numEnvs,
        episodeSeed: (index, episode) => 1000 * index + episode,
        reconnect: { attempts: 0, initialDelaySeconds: 1, maxDelaySeconds: 1 },
        notice: (message) => console.error(message),
      });
      const actions = new Float32Array(numEnvs * environments.actionSize);
      await environments.reset();
      const steps = Math.ceil(4000 / numEnvs);
      const found = await cost(
        steps * numEnvs,
        async () => {
          for (let i = 0; i < steps; i++) await environments.step(actions);
        },
        server.pid,
      );
      await environments.close();
      return found;
    };
    return {
      simulatorAlone: alone,
      simulatorOver1Stream: await through(1),
      simulatorOver16Streams: await through(16),
    };
  } finally {
    await server.close();
  }
}

/** Transitions in the learner's memory. */
async function replayCosts(capacity: number) {
  const store = new TransitionStore(capacity, shape);
  const one = [normal('o', shape.observationSize), normal('a', shape.actionSize)] as const;
  const next = normal('n', shape.observationSize);
  const add = () => store.add(one[0], one[1], 1, 0.95, next);
  for (let i = 0; i < capacity; i++) add();
  const chunk = new ChunkBuilder(shape, 32);
  const fill = () => {
    for (let i = 0; i < 32; i++) chunk.add(one[0], one[1], 1, 0.95, next);
    return chunk.take();
  };
  const rows = fill();
  return {
    rows,
    costs: {
      transitionPacked: await cost(32 * 2000, () => {
        for (let i = 0; i < 2000; i++) fill();
      }),
      transitionInserted: await cost(200_000, () => {
        for (let i = 0; i < 200_000; i++) add();
      }),
      transitionUnpackedAndInserted: await cost(32 * 2000, () => {
        for (let i = 0; i < 2000; i++) unpackChunk(rows, 32, shape, (...parts) => store.add(...parts));
      }),
      batchSampled: await cost(200, () => {
        for (let i = 0; i < 200; i++) store.sample(foldIn(randomKey(4), i), sizes.batch);
      }),
    },
  };
}

/** Chunks of 32 transitions and policies through Redis. */
async function redisCosts(url: string, redisPid: number, rows: Buffer, policy: Buffer) {
  const notice = () => {};
  const name = 'costs';
  const keys = runKeys(name);
  const reader = await ReplayReader.open({
    address: { url },
    name,
    me: 'bench',
    isGone: () => false,
    describe: (holder) => holder,
    refuseUnfinished: false,
    notice,
  });
  const connection = await RedisConnection.open({ url }, { notice });
  try {
    const token = 'bench';
    await reader.attach({ token, settings: '{}', label: 'bench', taken: 0, discard: true });
    await reader.report(0, 1e12, 1e12);
    const writer = new ReplayWriter({ connection, keys, token, actor: 'bench', notice });
    const chunk = { count: 32, steps: 32, updates: 0, episodes: [], rows };
    const chunks = 500;
    let position = '0';
    let updates = 0;
    return {
      chunkStored: await cost(
        chunks,
        async () => {
          for (let i = 0; i < chunks; i++) await writer.append(chunk);
        },
        redisPid,
      ),
      chunkRead: await cost(
        chunks / 2,
        async () => {
          for (let i = 0; i < chunks / 2; i++)
            position = (await reader.read(position, 1, 0))[0]?.id ?? position;
        },
        redisPid,
      ),
      progressReported: await cost(
        chunks,
        async () => {
          for (let i = 0; i < chunks; i++) await reader.report(0, 1e12, 1e12);
        },
        redisPid,
      ),
      policyPublished: await cost(
        200,
        async () => {
          for (let i = 0; i < 200; i++) await reader.publish(updates++, policy);
        },
        redisPid,
      ),
      policyFetched: await cost(
        200,
        async () => {
          for (let i = 0; i < 200; i++) await newestPolicy(connection, keys);
        },
        redisPid,
      ),
    };
  } finally {
    connection.close();
    await reader.close();
  }
}

/**
 * Measures the parts in this process, one by one, in microseconds. @param redisPid the process of the Redis at `url`.
 */
export async function stepCosts({
  simulator,
  url,
  redisPid,
}: {
  readonly simulator: string;
  readonly url: string;
  readonly redisPid: number;
}) {
  const engines = [await createEngine('onnx'), await createEngine('onnx', { threads: 1 })] as const;
  const { packed, costs: policy } = await policyCosts(...engines);
  for (const engine of engines) await engine.dispose();
  const simulators = await simulatorCosts(simulator);
  const { rows, costs: replay } = await replayCosts(defaults.replay.capacity);
  const redis = await redisCosts(url, redisPid, rows, packed);
  const side = await ours('update', 'onnx', 'pmpo', 4, iterations(updatesAtHand.control));
  const updates = 5 * updatesAtHand.control;
  const update = await cost(updates, async () => {
    await side.time(updates);
  });
  await side.close();
  return {
    unit: 'microseconds',
    transitionBytes: bytesPerTransition(shape),
    policyBytes: packed.length,
    ...policy,
    ...simulators,
    ...replay,
    ...redis,
    update,
  };
}
