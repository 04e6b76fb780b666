import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { serveEnvironments } from '../../../src/dm-env-rpc/server/serve-environments.js';
import { CheckpointStore, readCheckpoint } from '../../../src/run/checkpoints.js';
import {
  type Ended,
  exampleConfigs,
  projectRoot,
  type Running,
  run,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from '../../end-to-end/program.js';
import { countingEnvironment } from '../../support/counting-environment.js';
import { checkActors, events, onceEach, rowsIn } from './chunks.js';
import { rowsOf, StreamRecorder } from './recorder.js';
import { RedisServer } from './server.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const open: (() => Promise<void>)[] = [];
/** Registers a function that is called at the end of the test, even if it fails. */
function later(close: () => Promise<void>): void {
  open.push(close);
}
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function redis(options?: Parameters<typeof RedisServer.start>[0]): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  later(() => server.remove());
  return server;
}

async function record(server: RedisServer, name: string): Promise<StreamRecorder> {
  const recorder = await StreamRecorder.start(server, name);
  later(() => recorder.stop());
  return recorder;
}

/** Starts `pmpo`, which is killed at the end of the test if it still runs. */
function begin(args: readonly string[], timeoutSeconds = 200): Running {
  const running = start(args, { timeoutSeconds });
  later(async () => {
    running.child.kill('SIGKILL');
    await running.ended;
  });
  return running;
}

async function kill(running: Running): Promise<Ended> {
  running.child.kill('SIGKILL');
  return running.ended;
}

/** Writes the configuration of a run that is so small that its replay holds every transition. */
async function configure(
  server: { readonly url: string },
  name: string,
  { environmentSteps = 1000, ...more }: { environmentSteps?: number; [key: string]: unknown } = {},
): Promise<string> {
  const config = tinyConfig(folder.path);
  config.learner = { ...config.learner, environmentSteps, stepsPerUpdate: 2, batchSize: 32 };
  const replay = { capacity: 50_000, redis: server.url, name, ...(more.replay as object) };
  const evaluation = { every: 100_000, episodes: 1 };
  return writeConfig(folder.path, `${name}.yaml`, {
    ...config,
    name,
    checkpoint: { every: 700 },
    evaluation,
    ...more,
    replay,
  });
}

async function lastCheckpoint(name: string) {
  const store = new CheckpointStore(join(folder.path, name, 'checkpoints'));
  return readCheckpoint(store.fileOf((await store.latest())!));
}

/** The transitions that a run's last checkpoint holds, oldest first, as `rowsOf` writes them. */
async function learnedFrom(name: string): Promise<{ rows: string[]; steps: number }> {
  const { checkpoint, steps } = await lastCheckpoint(name);
  return { rows: rowsIn(checkpoint), steps };
}

test("a server's discounts reach the learner in returns and weights, from environments of one world", async () => {
  const server = await redis();
  const discounts = [0.5, 0, 0.5, 0.1];
  const simulators = await serveEnvironments({
    createEnvironment: async () =>
      countingEnvironment({ length: 4, reward: () => 1, discount: (count) => discounts[count - 1] }),
    port: 0,
  });
  later(() => simulators.close());
  const name = 'discounts';
  const file = await configure(server, name, {
    environmentSteps: 200,
    environment: { address: simulators.address, numEnvs: 2, envsPerStream: 2 },
    replay: { nStep: 3 },
  });
  const actor = begin(['act', file, '--json']);
  const learner = await begin(['train', file, '--json']).ended;
  expect(learner.code, learner.stderr).toBe(0);
  expect((await actor.ended).code).toBe(0);

  const { tensors } = (await lastCheckpoint(name)).checkpoint;
  const gamma = 0.99;
  const [before, after, returns, weights] = ['observations', 'nextObservations', 'returns', 'discounts'].map(
    (field) => tensors[`replay/${field}`].data as Float32Array,
  );
  expect(returns.length).toBeGreaterThanOrEqual(200);
  const seen = new Set<number>();
  for (let i = 0; i < returns.length; i++) {
    const [from, to] = [before[3 * i + 1], after[3 * i + 1]];
    // Three steps, or as many as the episode has left.
    expect(to).toBe(Math.min(from + 3, 4));
    const [expected, weight] = discounts
      .slice(from, to)
      .reduce(([sum, product], d) => [sum + product, product * gamma * d], [0, 1]);
    expect(returns[i]).toBeCloseTo(expected, 5);
    expect(weights[i]).toBeCloseTo(weight, 6);
    seen.add(from);
  }
  expect([...seen].sort()).toEqual([0, 1, 2, 3]);
}, 240_000);

test('repeated actions count as the steps for which they were held', async () => {
  const server = await redis();
  const name = 'repeated';
  // Three actions for each episode: of 4, 4 and 2 steps.
  const environment = {
    ...tinyConfig('').environment,
    createSettings: { episodeSteps: 10 },
    actionRepeat: 4,
  };
  const file = await configure(server, name, { environmentSteps: 500, environment });
  const actor = begin(['act', file, '--json']);
  const learner = await run(['train', file, '--json'], { timeoutSeconds: 400 });
  expect(learner.code).toBe(0);
  expect((await actor.ended).code).toBe(0);
  const { rows, steps } = await learnedFrom(name);
  expect(steps).toBeGreaterThanOrEqual(500);
  // The last episode of each of the two environments may be open.
  expect(Math.abs(steps - (rows.length * 10) / 3)).toBeLessThanOrEqual(2 * 4);
});

test('no transition is lost or stored twice when four actors and a learner are each killed and restarted once', async () => {
  const server = await redis();
  const name = 'killed';
  const file = await configure(server, name, { environmentSteps: 8000 });
  const recorder = await record(server, name);
  const actor = () => begin(['act', file, '--json']);
  const actors = Array.from({ length: 4 }, actor);
  let learner = begin(['train', file, '--json']);
  const ended: Ended[] = [];
  const replace = async (i: number, transitions: number) => {
    await recorder.until(transitions);
    await actors[i].until(/"event":"stored"/, 'stdout');
    ended.push(await kill(actors[i]));
    actors[i] = actor();
  };

  await replace(0, 600);
  await replace(1, 1400);
  await learner.until(/(?:"event":"checkpoint"[\s\S]*){3}/, 'stdout');
  // Beyond the checkpoint, so that there is something to read again.
  await recorder.until(recorder.transitions + 200);
  expect((await kill(learner)).code).toBe(null);
  const reached = recorder.transitions;
  learner = begin(['train', '--resume', join(folder.path, name), '--json']);
  await replace(2, reached + 800);
  await replace(3, reached + 1600);

  const [learned, ...acted] = await Promise.all([learner, ...actors].map(({ ended: end }) => end));
  expect(learned).toMatchObject({ code: 0, stderr: expect.not.stringMatching(/missing|lost/) });
  for (const each of acted) {
    expect(each.code, each.stderr + each.stdout).toBe(0);
    expect(events(each.stdout, 'end')).toMatchObject([{ finished: true }]);
  }
  await recorder.stop();

  const { chunks, repeated } = onceEach(recorder.entries);
  expect(repeated).toBe(0);
  expect(new Set(chunks.map((chunk) => chunk.actor)).size).toBe(8);
  checkActors([...ended, ...acted], chunks);
  const stored = rowsOf(chunks);
  expect(stored.length).toBeGreaterThanOrEqual(8000);
  // No two transitions are equal, so two equal rows would be one transition stored twice.
  expect(new Set(stored).size).toBe(stored.length);
  // The learner's replay holds the transitions that Redis stored, byte for byte and in their order.
  const { rows, steps } = await learnedFrom(name);
  expect(rows).toEqual(stored);
  expect(steps).toBe(stored.length);
  const { updates } = JSON.parse(await readFile(join(folder.path, name, 'summary.json'), 'utf8')) as {
    updates: number;
  };
  expect(updates).toBe(Math.floor((stored.length - 100) / 2));
}, 240_000);

test('the example configuration trains with two actors', async () => {
  const examples = exampleConfigs().filter(({ redis: address }) => address !== undefined);
  // The help of `pmpo act` names this example.
  expect(examples.map(({ path }) => path)).toEqual(['remote-actors.yaml']);
  const server = await redis();
  const short = Object.entries({
    'replay.redis': server.url,
    'learner.environmentSteps': 800,
    'learner.warmupSteps': 200,
    'learner.stepsPerUpdate': 20,
    'replay.samplesPerInsert': 6,
    'environment.createSettings.episodeSteps': 50,
    'evaluation.episodes': 1,
  }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const file = join(projectRoot, 'examples/remote-actors.yaml');
  const actors = [1, 2].map(() => begin(['act', file, ...short]).ended);
  const learned = await begin(['train', file, '--output', folder.path, ...short]).ended;
  expect(learned.stderr).toMatch(/Return .* over 1 episode/);
  expect(learned.code).toBe(0);
  for (const { code, stderr } of await Promise.all(actors)) {
    expect(stderr).toMatch(/The run is finished: this actor stored .* transitions/);
    expect(code).toBe(0);
  }
}, 240_000);

test('learner and actors continue without losing a transition when Redis is killed, restarted, and paused during the run', async () => {
  const server = await redis();
  const name = 'restarted';
  const file = await configure(server, name, { environmentSteps: 5000 });
  const recorder = await record(server, name);
  const actors = [1, 2].map(() => begin(['act', file, '--json']));
  const learner = begin(['train', file, '--json']);
  await recorder.until(1500);
  await server.kill();
  await learner.until(/Redis does not answer/, 'stdout');
  await server.start();
  await learner.until(/Redis answers again/, 'stdout');
  await recorder.until(3000);
  server.signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2000));
  server.signal('SIGCONT');
  const [learned, ...acted] = await Promise.all([learner, ...actors].map(({ ended }) => ended));
  expect(learned.code, learned.stderr + learned.stdout).toBe(0);
  for (const each of acted) {
    expect(each.code, each.stderr + each.stdout).toBe(0);
    expect(events(each.stdout, 'notice').map(({ message }) => message)).toContain('Redis answers again');
  }
  await recorder.stop();
  // Actors resend lost chunks, so the stream may hold a chunk twice; the learner's replay must not.
  const { chunks } = onceEach(recorder.entries);
  checkActors(acted, chunks);
  const stored = rowsOf(chunks);
  expect(new Set(stored).size).toBe(stored.length);
  expect((await learnedFrom(name)).rows.toSorted()).toEqual(stored.toSorted());
}, 240_000);

test('the run continues from the state of the learner, and ends, when Redis is emptied during the run', async () => {
  const server = await redis();
  const name = 'emptied';
  const file = await configure(server, name, { environmentSteps: 3000 });
  const recorder = await record(server, name);
  const actor = begin(['act', file, '--json']);
  const learner = begin(['train', file, '--json']);
  await recorder.until(1000);
  const { RedisConnection } = await import('../../../src/replay/redis/connection.js');
  const connection = await RedisConnection.open(server.address, { notice: () => {} });
  await connection.command(['FLUSHALL']);
  connection.close();
  const [learned, acted] = await Promise.all([learner.ended, actor.ended]);
  expect(learned.code, learned.stderr + learned.stdout).toBe(0);
  expect(learned.stdout).toMatch(/Redis no longer holds this run/);
  expect(acted.code, acted.stderr + acted.stdout).toBe(0);
  const { rows } = await learnedFrom(name);
  expect(new Set(rows).size).toBe(rows.length);
  expect(rows.length).toBeGreaterThanOrEqual(3000);
}, 240_000);

test('a password over TLS is not written anywhere, and a wrong password is an error of one line', async () => {
  const password = 'correct-horse-battery';
  const server = await redis({ tls: true, password });
  process.env.PMPO_TEST_REDIS = password;
  process.env.PMPO_TEST_WRONG = 'incorrect-horse';
  const replay = {
    redisPassword: { environmentVariable: 'PMPO_TEST_REDIS' },
    redisTls: { ca: server.file('ca.pem') },
  };
  const file = await configure(server, 'secure', { environmentSteps: 600, replay });
  const wrong = (...set: string[]) => ['act', 'train'].map((command) => run([command, file, ...set]));
  const variable = 'replay.redisPassword.environmentVariable';
  const oneLine = async (results: readonly Promise<Ended>[], message: RegExp) => {
    for (const { code, stderr } of await Promise.all(results)) {
      expect(stderr).toMatch(message);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(stderr).not.toContain('horse');
      expect(code).toBe(1);
    }
  };
  await oneLine(
    wrong('--set', `${variable}=PMPO_TEST_WRONG`),
    /^pmpo: replay\.redis \(rediss:\/\/127.*\): Redis refuses the password/,
  );
  await oneLine(
    wrong('--set', `${variable}=PMPO_TEST_NONE`),
    /environment variable PMPO_TEST_NONE is not set/,
  );
  await oneLine(wrong('--set', 'replay.redisTls={}'), /Redis cannot be reached: .*certificate/);
  expect(existsSync(join(folder.path, 'secure'))).toBe(false);

  const [learned, acted] = await Promise.all([run(['train', file]), run(['act', file])]);
  expect(learned.code, learned.stderr).toBe(0);
  expect(acted.code, acted.stderr).toBe(0);
  for (const entry of await readdir(join(folder.path, 'secure'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = await readFile(join(entry.parentPath, entry.name));
    expect(bytes.includes(password), entry.name).toBe(false);
  }
  expect(learned.stderr + learned.stdout + acted.stderr + acted.stdout).not.toContain(password);
}, 120_000);

describe('an error of one line', () => {
  test('for a Redis that does not answer, a missing address, and a password in the address', async () => {
    const server = await redis();
    const file = await configure(server, 'alone');
    await server.kill();
    for (const command of ['act', 'train']) {
      const { code, stderr } = await run([command, file]);
      expect(stderr).toBe(
        `pmpo: replay.redis (${server.url}): Redis cannot be reached: nothing listens there. Start Redis there, or correct the address\n`,
      );
      expect(code).toBe(1);
      const open = await run([command, file, '--set', 'replay.redis=redis://me:hidden@127.0.0.1:6379']);
      expect(open.stderr).toMatch(/replay\.redis: contains a password, .*redisPassword/);
      expect(open.stderr).not.toContain('hidden');
      expect(open.code).toBe(2);
    }
    const local = await writeConfig(folder.path, 'local.yaml', tinyConfig(folder.path));
    const { code, stderr } = await run(['act', local]);
    expect(stderr).toMatch(/^pmpo: replay\.redis: it is not set/);
    expect(code).toBe(1);
  });

  test('for a second learner, a second process in the folder, an unfinished run of the same name, and another configuration', async () => {
    const server = await redis();
    const file = await configure(server, 'busy', { environmentSteps: 100_000 });
    const waiting = begin(['act', file, '--json']);
    await waiting.until(/No learner of run 'busy' has been seen for \d+ s; waiting for one/, 'stdout');
    const learner = begin(['train', file, '--json']);
    const recorder = await record(server, 'busy');
    await recorder.until(200);

    const second = await run(['train', file]);
    expect(second.stderr).toMatch(/another learner holds this run: process \d+ on /);
    expect(second.code).toBe(1);
    const resumed = await run(['train', '--resume', join(folder.path, 'busy')]);
    expect(resumed.stderr).toMatch(/^pmpo: .*busy: another process is working on this run: process \d+ on /);
    expect(resumed.code).toBe(1);
    const other = await run(['act', file, '--set', 'policy.hidden=[24]']);
    expect(other.stderr).toMatch(/policy\.hidden is \[16\] there and \[24\] here/);
    expect(other.code).toBe(1);

    // The run is stopped but unfinished: its folder and the transitions in Redis belong together.
    learner.child.kill('SIGINT');
    expect((await learner.ended).code).toBe(1);
    expect(existsSync(join(folder.path, 'busy', 'lock.json'))).toBe(false);
    const anew = await run(['train', file]);
    expect(anew.stderr).toMatch(/holds an unfinished run of this name, with \d+ transitions/);
    expect(anew.code).toBe(1);
    expect(existsSync(join(folder.path, 'busy-2'))).toBe(false);
    const discarding = begin([
      ...['train', file, '--json', '--set', 'replay.discard=true'],
      ...['--set', 'learner.environmentSteps=600'],
    ]);
    const [{ code, stderr }, acted] = await Promise.all([discarding.ended, waiting.ended]);
    expect(code, stderr).toBe(0);
    // The actor joined the new run by itself.
    expect(events(acted.stdout, 'end')).toMatchObject([{ finished: true }]);
    expect(acted.code).toBe(0);
  }, 120_000);
});

test('an actor that is stopped stores what it has, and exits with 0', async () => {
  const server = await redis();
  const file = await configure(server, 'stopped', { environmentSteps: 100_000 });
  begin(['train', file, '--json']);
  const actor = begin(['act', file, '--json']);
  await actor.until(/"event":"stored"/, 'stdout');
  const recorder = await record(server, 'stopped');
  actor.child.kill('SIGINT');
  const ended = await actor.ended;
  expect(ended.code, ended.stderr).toBe(0);
  expect(events(ended.stdout, 'end')).toMatchObject([{ finished: false }]);
  await recorder.stop();
  checkActors([ended], onceEach(recorder.entries).chunks);
}, 60_000);
