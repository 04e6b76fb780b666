import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { serveEnvironments } from '../../../src/dm-env-rpc/server/serve-environments.js';
import { type Ended, run, tinyConfig, writeConfig } from '../../end-to-end/program.js';
import { countingEnvironment } from '../../support/counting-environment.js';
import { checkActors, events, onceEach } from './chunks.js';
import { begin, configure, folder, lastCheckpoint, later, learnedFrom, record, redis } from './runs.js';

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
