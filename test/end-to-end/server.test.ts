import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  ensureBuilt,
  type Running,
  run,
  runHere,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Steps of a run that is still running when the test interferes, even on a slow machine. */
const longSteps = 8000;

/** A port on which no server listens: one that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function serve(port: number): Promise<Running> {
  const server = start(['serve', 'simulators', '--port', `${port}`]);
  await server.until(/Serving simulators on 127\.0\.0\.1:\d+/, 'stdout');
  return server;
}

async function setUp(name: string, port: number, reconnect: Record<string, number>, steps = 600) {
  const output = join(folder.path, name);
  await mkdir(output);
  const config = tinyConfig(output);
  config.learner.environmentSteps = steps;
  config.checkpoint.every = steps;
  Object.assign(config.environment, { address: `127.0.0.1:${port}`, deadlineSeconds: 20, reconnect });
  return { output, file: await writeConfig(output, 'config.yaml', config) };
}

test('a run without its server ends at once with an error that names the address, and leaves no folder', async () => {
  const { output, file } = await setUp('nobody', await freePort(), { attempts: 1 });
  const { code, stderr } = await runHere(['train', file, '--name', 'r']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^pmpo: 127\.0\.0\.1:\d+: no server answers there.*environment\.address\n$/m);
  expect(stderr).not.toMatch(/^\s+at /m);
  await expect(readFile(join(output, 'r', 'config.yaml'))).rejects.toThrow('ENOENT');
});

test('a run on a separate server gives the same policy as one on the embedded server; Ctrl-C ends the server', async () => {
  const port = await freePort();
  const server = await serve(port);
  const { output, file } = await setUp('remote', port, {});
  const remote = await run(['train', file, '--name', 'remote', '--quiet']);
  expect(remote).toMatchObject({ code: 0, stderr: '' });
  server.child.kill('SIGINT');
  expect(await server.ended).toMatchObject({ code: 0, stderr: '' });
  const embedded = await writeConfig(output, 'embedded.yaml', {
    ...tinyConfig(output),
    checkpoint: { every: 600 },
  });
  expect((await runHere(['train', embedded, '--name', 'embedded', '--quiet'])).code).toBe(0);
  const policies = await Promise.all(
    ['remote', 'embedded'].map((name) => readFile(join(output, name, 'policy.onnx'))),
  );
  expect(policies[0].equals(policies[1])).toBe(true);
});

test('a run waits for a server that dies, and continues when the server is back', async () => {
  const port = await freePort();
  const first = await serve(port);
  const { output, file } = await setUp(
    'restart',
    port,
    { attempts: 40, initialDelaySeconds: 0.1, maxDelaySeconds: 0.5 },
    longSteps,
  );
  const running = start(['train', file, '--name', 'r']);
  await running.until(/Evaluation at/);
  first.child.kill('SIGKILL');
  await first.ended;
  await running.until(/Reconnecting/);
  const second = await serve(port);
  const { code, stderr } = await running.ended;
  expect(code).toBe(0);
  expect(stderr).toMatch(/connected again, with a fresh episode/);
  const summary = JSON.parse(await readFile(join(output, 'r', 'summary.json'), 'utf8')) as object;
  expect(summary).toMatchObject({ steps: longSteps });
  second.child.kill('SIGINT');
  expect((await second.ended).code).toBe(0);
});

test('a server that does not come back ends the run with a checkpoint and the command to resume', async () => {
  const port = await freePort();
  const server = await serve(port);
  const { output, file } = await setUp('lost', port, { attempts: 1, initialDelaySeconds: 0.1 }, longSteps);
  const running = start(['train', file, '--name', 'r']);
  await running.until(/Evaluation at/);
  server.child.kill('SIGKILL');
  const { code, stderr } = await running.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/Resume from the last checkpoint with: npx pmpo train --resume/);
  expect(stderr).not.toMatch(/^\s+at /m);

  const again = await serve(port);
  const resumed = await runHere(['train', '--resume', join(output, 'r'), '--quiet']);
  expect(resumed).toMatchObject({ code: 0, stderr: '' });
  again.child.kill('SIGINT');
  await again.ended;
});

test('a port that is in use is named in the error', async () => {
  const port = await freePort();
  const server = await serve(port);
  const { code, stderr } = await runHere(['serve', 'simulators', '--port', `${port}`]);
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`^pmpo: 127\\.0\\.0\\.1:${port}: cannot listen there`));
  server.child.kill('SIGINT');
  await server.ended;
});

test('a server on all interfaces warns that anyone can use it, and one on this machine does not', async () => {
  const open = start(['serve', 'simulators', '--host', '0.0.0.0', '--port', '0']);
  await open.until(/^pmpo: anyone who can reach 0\.0\.0\.0:\d+ can use this server: it takes no token/m);
  open.child.kill('SIGINT');
  expect((await open.ended).code).toBe(0);
  const own = await serve(0);
  own.child.kill('SIGINT');
  expect((await own.ended).stderr).not.toMatch(/anyone/);
});
