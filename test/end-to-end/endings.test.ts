import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckpointStore } from '../../src/run/checkpoints.js';
import { lives } from '../support/processes.js';
import { ensureBuilt, projectRoot, start, temporaryFolder, tinyConfig, writeConfig } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** The configuration of a run that does not end by itself while a test waits. */
async function longRun(output: string): Promise<string> {
  await mkdir(output, { recursive: true });
  const config = tinyConfig(output);
  config.learner.environmentSteps = 10_000_000;
  config.evaluation.every = 10_000_000;
  // So that only the end of the run saves another checkpoint.
  config.checkpoint.every = 10_000_000;
  return writeConfig(output, 'config.yaml', config);
}

/** Waits for `check` to give something. */
async function eventually<Found>(check: () => Promise<Found | undefined>, seconds = 50): Promise<Found> {
  for (const end = Date.now() + seconds * 1000; ; await delay(50)) {
    const found = await check().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`nothing after ${seconds} s`);
  }
}

/** The process that works in the folder of a run, once it has reported metrics. */
const workerOf = (run: string) =>
  eventually(async () => {
    const { pid } = JSON.parse(await readFile(join(run, 'lock.json'), 'utf8')) as { pid: number };
    return (await readFile(join(run, 'metrics.jsonl'), 'utf8')).includes('"metrics"') ? pid : undefined;
  });

const ended = (pid: number) => eventually(async () => (lives(pid) ? undefined : true));

describe('a run under npm', () => {
  /** A package that has pmpo among its dependencies and runs it by `npm start`. */
  async function userPackage(name: string): Promise<string> {
    const path = join(folder.path, name);
    await mkdir(join(path, 'node_modules', '.bin'), { recursive: true });
    await symlink(projectRoot, join(path, 'node_modules', 'pmpo'));
    await symlink('../pmpo/scripts/pmpo.mjs', join(path, 'node_modules', '.bin', 'pmpo'));
    const scripts = { start: 'pmpo train config.yaml --name run --quiet' };
    await writeFile(join(path, 'package.json'), JSON.stringify({ name, version: '1.0.0', scripts }));
    return path;
  }

  const starts = {
    npx: ['npx', 'pmpo', 'train', 'config.yaml', '--name', 'run', '--quiet'],
    npm: ['npm', 'start'],
  };

  test.each([
    ['npx', 'SIGTERM'],
    ['npx', 'SIGKILL'],
    ['npm', 'SIGTERM'],
    ['npm', 'SIGHUP'],
  ] as const)(
    'saves a checkpoint and ends when %s gets %s',
    async (starter, signal) => {
      const path = await userPackage(`${starter}-${signal}`.toLowerCase());
      await longRun(path);
      const [command, ...args] = starts[starter];
      const npm: ChildProcess = spawn(command!, args, { cwd: path, stdio: 'ignore' });
      const run = join(path, 'run');
      const worker = await workerOf(run);
      npm.kill(signal);
      await ended(worker);
      expect((await new CheckpointStore(join(run, 'checkpoints')).list()).length).toBe(1);
    },
    60_000,
  );
});

test('a run whose terminal is closed saves a checkpoint', { timeout: 110_000 }, async () => {
  const path = join(folder.path, 'terminal');
  const { child, ended: end } = start(['train', await longRun(path), '--name', 'run', '--quiet']);
  await workerOf(join(path, 'run'));
  child.kill('SIGHUP');
  expect(await end).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Resume with: npx pmpo train'),
  });
  expect((await new CheckpointStore(join(path, 'run', 'checkpoints')).list()).length).toBe(1);
});

test('a run of a study ends with the process that launched it, even if that is killed', {
  timeout: 110_000,
}, async () => {
  const path = join(folder.path, 'launched');
  const config = await longRun(path);
  const script = `
    import { spawn } from 'node:child_process';
    spawn(process.execPath, [${JSON.stringify(join(projectRoot, 'dist/cli/main.js'))}, 'train', ${JSON.stringify(config)}, '--name', 'run', '--quiet'],
      { detached: true, stdio: 'ignore', env: { ...process.env, PMPO_ENDS_WITH_PARENT: '1' } });
    setInterval(() => {}, 1000);`;
  const launcher = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
  const worker = await workerOf(join(path, 'run'));
  launcher.kill('SIGKILL');
  await ended(worker);
  expect((await new CheckpointStore(join(path, 'run', 'checkpoints')).list()).length).toBe(1);
});
