import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { mean } from '../src/core/statistics.js';
import { RedisConnection } from '../src/replay/redis/connection.js';
import { runKeys } from '../src/replay/redis/keys.js';
import { runStatus } from '../src/replay/redis/replay-writer.js';
import { freePort } from '../test/support/free-port.js';
import { round } from './support/figures.js';
import { load, machine } from './support/machine.js';
import { program, type RunningServer, root, startOwnServer } from './support/peers.js';
import {
  alongside,
  type Ending,
  eventually,
  family,
  megabytesOf,
  processorSeconds,
  type Started,
  start,
} from './support/processes.js';
import { recordsOf } from './support/records.js';
import { stepCosts } from './support/step-costs.js';

/**
 * `npm run bench scale [-- ACTORS] [SECONDS]`: a learner that gets its transitions through Redis from 1, 4, 16 and 64 actors, all on
 * this machine. ACTORS is a list such as 1,4,64,4x16, in which 4x16 are 4 processes with 16 environments each; 0 leaves all of them out.
 * For each, it starts Redis, one server of embedded simulators, the learner and the actors, and when all of them have begun measures
 * for SECONDS (20): the samples that the learner draws and the transitions that arrive per second, each side's processor time, and
 * memory. Then it measures what each part of a step costs by itself, in this process (support/step-costs.ts).
 */

const [actorsGiven = '1,4,16,64,4x16', secondsGiven = '20'] = process.argv.slice(2);
const seconds = Number(secondsGiven);
const cases = actorsGiven === '0' ? [] : actorsGiven.split(',').map((text) => text.split('x').map(Number));
const batchSize = 256;
/** A learner with two cores of its own draws about 20,000 samples per second, and so needs about 1,300 transitions per second. */
const samplesPerInsert = 16;

const settings = {
  'environment.simulator': 'walker_walk',
  'policy.hidden': '[256, 256]',
  'critic.hidden': '[256, 256]',
  'learner.batchSize': batchSize,
  'learner.warmupSteps': 2000,
  'learner.environmentSteps': 10_000_000,
  'replay.samplesPerInsert': samplesPerInsert,
  'replay.name': 'scale',
  'evaluation.every': 10_000_000,
  'checkpoint.every': 10_000,
};

async function startRedis(folder: string): Promise<{ readonly server: Started; readonly url: string }> {
  const { ensureRedis } = (await import(new URL('../scripts/redis.mjs', import.meta.url).href)) as {
    ensureRedis(): { command: string; env: Record<string, string> };
  };
  const { command, env } = ensureRedis();
  const port = await freePort();
  const options = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--appendonly',
    'yes',
    '--save',
    '',
  ];
  const server = start(command, options, { env: { ...process.env, ...env } });
  return { server, url: `redis://127.0.0.1:${port}` };
}

/** What Redis says of its memory, in MB. */
async function storeOf(connection: RedisConnection) {
  const text = String(await connection.command(['INFO', 'memory']));
  const bytes = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1]);
  return { megabytes: bytes('used_memory') / 1e6, peakMegabytes: bytes('used_memory_peak') / 1e6 };
}

async function measure(processes: number, environments: number) {
  const folder = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  const metricsOf = () => recordsOf(join(folder, 'runs/run'), 'metrics');
  const programs = new Map<string, Ending>();
  const actors: Started[] = [];
  let redis: Started | undefined;
  let simulators: RunningServer | undefined;
  let learner: Started | undefined;
  let connection: RedisConnection | undefined;
  try {
    const { server, url } = await startRedis(folder);
    redis = server;
    programs.set('Redis', server);
    simulators = await startOwnServer(['simulators']);
    programs.set('the server of the simulators', simulators);
    const all = { ...settings, 'replay.redis': url, 'environment.address': simulators.address };
    const sets = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
    const config = join(root, 'examples/remote-actors.yaml');
    const store = await eventually(programs, 'the start of Redis', () =>
      RedisConnection.open({ url }, { notice: () => {} }),
    );
    connection = store;
    const output = ['--output', join(folder, 'runs'), '--name', 'run', '--quiet'];
    const log = { stdio: ['ignore', 'ignore', 'inherit'] as ['ignore', 'ignore', 'inherit'] };
    learner = start(process.execPath, [program, 'train', config, ...output, ...sets], log);
    programs.set('the learner', learner);
    const keys = runKeys('scale');
    await eventually(programs, 'the start of the learner', async () => {
      const status = await runStatus(store, keys);
      return status !== undefined && status.revision > 0 ? status : undefined;
    });
    for (let i = 0; i < processes; i++) {
      const own = ['--set', `environment.numEnvs=${environments}`, '--set', 'threads=1', '--quiet'];
      actors.push(start(process.execPath, [program, 'act', config, ...sets, ...own], log));
      programs.set(`actor ${i + 1}`, actors[i]);
    }
    await eventually(programs, 'the first transitions of all actors', async () => {
      const count = Number(await store.command(['HLEN', keys.actors]));
      const last = metricsOf().at(-1);
      return count === processes && last !== undefined && last.updates > 100 ? count : undefined;
    });
    const groups = {
      learner: family(learner.pid),
      actors: actors.flatMap(({ pid }) => family(pid)),
      simulators: family(simulators.pid),
      redis: family(server.pid),
    };
    const times = () => Object.values(groups).map(processorSeconds);
    const from = metricsOf().length;
    const before = times();
    const begun = performance.now();
    await alongside(programs, 'the end of the measurement', pause(1000 * seconds));
    const after = times();
    const elapsed = (performance.now() - begun) / 1000;
    const metrics = metricsOf().slice(from - 1);
    if (metrics.length < 2) {
      throw new Error(`the learner reported no metrics within ${seconds} s: measure for longer`);
    }
    const [first, last] = [metrics[0], metrics.at(-1)!];
    const spent = last.wallSeconds - first.wallSeconds;
    const [updates, transitions] = [last.updates - first.updates, last.steps - first.steps];
    const perSecond = { updates: updates / spent, transitions: transitions / spent };
    const average = (name: string) => mean(metrics.slice(1).map(({ values }) => values[name]));
    return {
      processes,
      environmentsOfEach: environments,
      samplesPerSecond: Math.round(batchSize * perSecond.updates),
      transitionsPerSecond: Math.round(perSecond.transitions),
      samplesPerInsert: average('replay/samplesPerInsert'),
      policyLagUpdates: average('actors/policyLag'),
      chunksInStore: average('replay/streamLength'),
      store: await storeOf(store),
      coresUsed: Object.fromEntries(
        Object.keys(groups).map((name, i) => [name, (after[i] - before[i]) / elapsed]),
      ),
      megabytes: Object.fromEntries(Object.entries(groups).map(([name, pids]) => [name, megabytesOf(pids)])),
    };
  } finally {
    connection?.close();
    // Actors need the learner and the simulators, and all of them need Redis.
    await Promise.allSettled(actors.map((actor) => actor.stop()));
    await Promise.allSettled([learner?.stop()]);
    await Promise.allSettled([simulators?.close()]);
    await Promise.allSettled([redis?.stop()]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What each part of a step costs by itself. */
async function measureParts() {
  const folder = mkdtempSync(join(tmpdir(), 'pmpo-bench-'));
  const redis = await startRedis(folder);
  try {
    await eventually(new Map([['Redis', redis.server]]), 'the start of Redis', async () => {
      (await RedisConnection.open({ url: redis.url }, { notice: () => {} })).close();
      return true;
    });
    return await stepCosts({
      simulator: settings['environment.simulator'],
      url: redis.url,
      redisPid: redis.server.pid,
    });
  } finally {
    await redis.server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

const loadBefore = load();
const actors: Awaited<ReturnType<typeof measure>>[] = [];
for (const [processes, environments = 1] of cases) {
  actors.push(await measure(processes, environments));
  const { samplesPerSecond, transitionsPerSecond, store } = actors.at(-1)!;
  console.error(
    `${processes} × ${environments}: ${samplesPerSecond} samples/s, ${transitionsPerSecond} transitions/s, ${store.megabytes.toFixed(1)} MB in Redis`,
  );
}
const costs = await measureParts();
console.log(
  JSON.stringify(
    { benchmark: 'scale', machine: machine(loadBefore), seconds, settings, actors, costs },
    (_, value) => (typeof value === 'number' ? round(value) : value),
    2,
  ),
);
