import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { CheckpointStore, readCheckpoint } from '../../../src/run/checkpoints.js';
import {
  type Ended,
  type Running,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from '../../end-to-end/program.js';
import { rowsIn } from './chunks.js';
import { StreamRecorder } from './recorder.js';
import { RedisServer } from './server.js';

// Runs of `pmpo train` and `pmpo act` on a Redis server of their own; all are ended with their test.

/** The folder of a file's runs. */
export let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const open: (() => Promise<void>)[] = [];
/** Registers a function that is called at the end of the test, even if it fails. */
export function later(close: () => Promise<void>): void {
  open.push(close);
}
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

export async function redis(options?: Parameters<typeof RedisServer.start>[0]): Promise<RedisServer> {
  const server = await RedisServer.start(options);
  later(() => server.remove());
  return server;
}

export async function record(server: RedisServer, name: string): Promise<StreamRecorder> {
  const recorder = await StreamRecorder.start(server, name);
  later(() => recorder.stop());
  return recorder;
}

/** Starts `pmpo`, which is killed at the end of the test if it still runs. */
export function begin(args: readonly string[], timeoutSeconds = 200): Running {
  const running = start(args, { timeoutSeconds });
  later(async () => {
    running.child.kill('SIGKILL');
    await running.ended;
  });
  return running;
}

export async function kill(running: Running): Promise<Ended> {
  running.child.kill('SIGKILL');
  return running.ended;
}

/** Writes the configuration of a run that is so small that its replay holds every transition. */
export async function configure(
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

export async function lastCheckpoint(name: string) {
  const store = new CheckpointStore(join(folder.path, name, 'checkpoints'));
  return readCheckpoint(store.fileOf((await store.latest())!));
}

/** The transitions that a run's last checkpoint holds, oldest first, as `rowsOf` writes them. */
export async function learnedFrom(name: string): Promise<{ rows: string[]; steps: number }> {
  const { checkpoint, steps } = await lastCheckpoint(name);
  return { rows: rowsIn(checkpoint), steps };
}
