import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Ended, exampleConfigs, projectRoot } from '../../end-to-end/program.js';
import { checkActors, events, onceEach } from './chunks.js';
import { rowsOf } from './recorder.js';
import { begin, configure, folder, kill, learnedFrom, record, redis } from './runs.js';

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
