import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import { type CountingEnvironmentOptions, countingEnvironment } from '../support/counting-environment.js';
import { folderFor, pmpo, smallRun, train } from './run.js';

/** Whole runs with simulators that raise errors, behind a gRPC server. */

let folder: Awaited<ReturnType<typeof folderFor>>;
const cleanups: (() => unknown)[] = [];
beforeAll(async () => {
  folder = await folderFor('failing');
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(() => folder.remove());

async function addressOf(fail: CountingEnvironmentOptions['fail'], port = 0): Promise<string> {
  const server = await serveEnvironments({
    createEnvironment: async () => countingEnvironment({ length: 40, observe: () => 1, fail }),
    port,
  });
  cleanups.push(() => server.close());
  return server.address;
}

async function metricsOf(run: string): Promise<Record<string, number>[]> {
  const text = await readFile(join(folder.path, run, 'metrics.jsonl'), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).values ?? {});
}

it('a simulator that fails now and then costs its episodes, which are said and counted', async () => {
  let steps = 0;
  // Once in 50 steps over all environments.
  const address = await addressOf((_, count) => {
    if (count === 0 || ++steps % 50 !== 0) return undefined;
    return new Error('PhysicsError: mjWARN_BADQACC');
  });
  const config = { ...smallRun(folder.path, { address }), name: 'now-and-then' };
  const { code, said } = await train(folder.path, config, []);
  expect(said).toMatch(
    /environment \d, episode \d+, step \d+: the simulator failed: .*PhysicsError: mjWARN_BADQACC/,
  );
  expect(code).toBe(0);
  const failures = (await metricsOf('now-and-then')).flatMap((values) => values['acting/failures'] ?? []);
  expect(failures.at(-1)).toBeGreaterThanOrEqual(3);
});

it('a simulator that fails at each try ends the run with a checkpoint, from which a mended one goes on', async () => {
  let isBroken = false;
  let steps = 0;
  const address = await addressOf((_, count) => {
    if (count > 0 && ++steps > 120) isBroken = true;
    return isBroken ? new Error('no licence') : undefined;
  });
  const { code, said } = await train(folder.path, { ...smallRun(folder.path, { address }), name: 'broken' });
  expect(code).toBe(1);
  expect(said).toMatch(
    /environment \d, episode \d+, step \d+: the simulator has failed in 10 episodes in a row: .*no licence/,
  );
  expect(await readdir(join(folder.path, 'broken', 'checkpoints'))).toHaveLength(1);
  isBroken = false;
  steps = Number.NEGATIVE_INFINITY;
  const resumed = await pmpo('train', '--resume', join(folder.path, 'broken'), '--quiet');
  expect(resumed.said).toBe('');
  expect(resumed.code).toBe(0);
});
