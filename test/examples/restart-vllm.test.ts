import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

/** Runs the script with a small server instead of vLLM, and checks what happens to the replaced server. */

const run = promisify(execFile);

// Keeps its port open, and ends only on SIGKILL.
const server = `process.on('SIGTERM', () => {});
  require('net').createServer().listen(Number(process.argv[1]), '127.0.0.1');`;

// The script's waits are shortened, and a killed process takes a moment to end, as large processes do.
const slowDeath = {
  'BASH_FUNC_sleep%%': '() { command sleep 0.02; }',
  'BASH_FUNC_kill%%': `() { if [[ $1 == -KILL ]]; then (command sleep 0.3; builtin kill "$@") & else builtin kill "$@"; fi; }`,
};
const noDeath = {
  ...slowDeath,
  'BASH_FUNC_kill%%': `() { [[ $1 == -KILL ]] || builtin kill "$@"; }`,
};

let state: string;
let port: number;
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'pmpo-restart-'));
  port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address() as { port: number };
      probe.close(() => resolve(free));
    });
  });
});
const pid = async () => Number.parseInt(await readFile(join(state, `vllm-${port}.pid`), 'utf8'), 10);
afterEach(async () => process.kill(-(await pid()), 'SIGKILL'));
afterAll(() => rm(state, { recursive: true, force: true }));

const restart = (env: NodeJS.ProcessEnv = {}) =>
  run(
    'bash',
    ['examples/language/restart-vllm.sh', state, String(port), process.execPath, '-e', server, 'PORT'],
    {
      env: { ...process.env, STATE: state, ...env },
    },
  );

describe.skipIf(process.platform !== 'linux')('restart-vllm.sh', () => {
  it('waits until a killed server has released its port', async () => {
    await restart();
    const first = await pid();
    await restart(slowDeath);
    expect(await pid()).not.toBe(first);
  });

  it('reports a server that does not end, and keeps its process id', async () => {
    await restart();
    const first = await pid();
    await expect(restart(noDeath)).rejects.toThrow(`process ${first}, was killed and has not ended`);
    expect(await pid()).toBe(first);
  });
});
