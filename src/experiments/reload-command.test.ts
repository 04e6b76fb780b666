import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lives } from '../../test/support/processes.js';
import { runReloadCommand } from './reload-command.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-reload-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const options = { deadlineSeconds: 60 };
const node = (script: string, ...args: string[]) => [process.execPath, '-e', script, ...args];

describe('runReloadCommand', () => {
  it('replaces {folder} in every argument', async () => {
    const script = "require('fs').writeFileSync(process.argv[1], process.argv.slice(2).join())";
    await runReloadCommand(node(script, '{folder}/seen', '{folder}', '--model={folder}'), folder, options);
    expect(await readFile(join(folder, 'seen'), 'utf8')).toBe(`${folder},--model=${folder}`);
  });

  it('does not wait for a background process or its output', async () => {
    const script = `const child = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'],
      { detached: true, stdio: ['ignore', 'ignore', 'inherit'] });
      require('fs').writeFileSync(process.argv[1], String(child.pid)); child.unref();`;
    await runReloadCommand(node(script, '{folder}/left'), folder, options);
    // The process is still running.
    expect(process.kill(Number(await readFile(join(folder, 'left'), 'utf8')), 'SIGKILL')).toBe(true);
  });

  it.each<[string, readonly string[], RegExp]>([
    [
      'fails',
      node("console.error('much'); console.error('no GPU is free'); process.exit(3)"),
      /^language\.model\.sampler\.publish\.command: \S+ ended with exit code 3: no GPU is free\. Run it by hand/,
    ],
    [
      'fails without output',
      node('process.exit(3)'),
      /ended with exit code 3\. Run it by hand with \S+ in place of/,
    ],
    ['is killed', node("process.kill(process.pid, 'SIGTERM')"), /was ended by SIGTERM/],
    ['does not exist', ['no-such-program'], /the program 'no-such-program' was not found/],
  ])('reports a program that %s', async (_, command, message) => {
    await expect(runReloadCommand(command, folder, options)).rejects.toThrow(message);
  });

  // Runs forever, as does its child; both ignore SIGTERM.
  const forever = node(
    `const lasting = "process.on('SIGTERM', () => {}); setTimeout(() => {}, 60000); console.log()";
    const child = require('child_process').spawn(process.execPath, ['-e', lasting], { stdio: ['ignore', 'pipe', 'ignore'] });
    const session = require('child_process').spawn(process.execPath, ['-e', lasting], { stdio: 'ignore', detached: true });
    const pids = [process.pid, child.pid, session.pid];
    child.stdout.on('data', () => require('fs').writeFileSync(process.argv[1], pids.join(' ') + '.'));`,
    '{folder}/pids',
  );
  const pids = async () => {
    const text = await vi.waitFor(
      async () => {
        const written = await readFile(join(folder, 'pids'), 'utf8');
        if (!written.endsWith('.')) throw new Error('not complete yet');
        return written;
      },
      { timeout: 20_000 },
    );
    await rm(join(folder, 'pids'));
    return text.split(' ').map((pid) => Number.parseInt(pid, 10));
  };
  /** The program and its child have ended; the process in another session has not. */
  const expectOnlySessionLeft = async ([own, child, session]: number[]) => {
    expect(lives(own!)).toBe(false);
    await vi.waitFor(() => expect(lives(child!)).toBe(false), { timeout: 30_000 });
    expect(lives(session!)).toBe(true);
    process.kill(session!, 'SIGKILL');
  };

  it('ends a command that takes too long, and its process group', async () => {
    await expect(runReloadCommand(forever, folder, { deadlineSeconds: 6 })).rejects.toThrow(
      /did not end within 6 s\. Raise language\.model\.sampler\.publish\.deadlineSeconds/,
    );
    await expectOnlySessionLeft(await pids());
  });

  it('ends a command and its process group before it rejects, when it is aborted', async () => {
    const stop = new AbortController();
    const running = runReloadCommand(forever, folder, { ...options, signal: stop.signal });
    const started = await pids();
    stop.abort();
    await expect(running).rejects.toThrow(/was stopped/);
    await expectOnlySessionLeft(started);
  });

  it('kills a command that ignores SIGTERM', async () => {
    const stop = new AbortController();
    const script = `process.on('SIGTERM', () => {}); setTimeout(() => {}, 60000);
      require('fs').writeFileSync(process.argv[1], process.pid + '.');`;
    const running = runReloadCommand(node(script, '{folder}/pids'), folder, {
      ...options,
      signal: stop.signal,
    });
    const [pid] = await pids();
    stop.abort();
    await expect(running).rejects.toThrow(/was stopped/);
    expect(lives(pid!)).toBe(false);
  });

  it('does not start a command after it was aborted', async () => {
    const given = { ...options, signal: AbortSignal.abort() };
    await expect(runReloadCommand(['no-such-program'], folder, given)).rejects.toThrow(/was stopped/);
  });
});
