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
  it('runs the program with the folder in every word that asks for it', async () => {
    const script = "require('fs').writeFileSync(process.argv[1], process.argv.slice(2).join())";
    await runReloadCommand(node(script, '{folder}/seen', '{folder}', '--model={folder}'), folder, options);
    expect(await readFile(join(folder, 'seen'), 'utf8')).toBe(`${folder},--model=${folder}`);
  });

  it('does not wait for what is left in the background, nor for what that may still say', async () => {
    const script = `const child = require('child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'],
      { detached: true, stdio: ['ignore', 'ignore', 'inherit'] });
      require('fs').writeFileSync(process.argv[1], String(child.pid)); child.unref();`;
    await runReloadCommand(node(script, '{folder}/left'), folder, options);
    // Still there.
    expect(process.kill(Number(await readFile(join(folder, 'left'), 'utf8')), 'SIGKILL')).toBe(true);
  });

  it.each<[string, readonly string[], RegExp]>([
    [
      'fails',
      node("console.error('much'); console.error('no GPU is free'); process.exit(3)"),
      /^language\.model\.sampler\.publish\.command: \S+ ended with exit code 3: no GPU is free\. Run it by hand/,
    ],
    ['fails without a word', node('process.exit(3)'), /ended with exit code 3\. Run it by hand with \S+ for/],
    ['is killed', node("process.kill(process.pid, 'SIGTERM')"), /was ended by SIGTERM/],
    ['is not there', ['no-such-program'], /there is no program 'no-such-program'/],
  ])('says how a program %s', async (_, command, message) => {
    await expect(runReloadCommand(command, folder, options)).rejects.toThrow(message);
  });

  // Goes on forever, as does what it has started; neither heeds a signal that can be refused.
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
        if (!written.endsWith('.')) throw new Error('not all of them yet');
        return written;
      },
      { timeout: 20_000 },
    );
    await rm(join(folder, 'pids'));
    return text.split(' ').map((pid) => Number.parseInt(pid, 10));
  };
  /** The program itself and its child are gone; what has a session of its own is not. */
  const onlySessionIsLeft = async ([own, child, session]: number[]) => {
    expect(lives(own!)).toBe(false);
    await vi.waitFor(() => expect(lives(child!)).toBe(false), { timeout: 30_000 });
    expect(lives(session!)).toBe(true);
    process.kill(session!, 'SIGKILL');
  };

  it('ends one that takes too long, and what it has started', async () => {
    await expect(runReloadCommand(forever, folder, { deadlineSeconds: 6 })).rejects.toThrow(
      /did not end within 6 s\. Raise language\.model\.sampler\.publish\.deadlineSeconds/,
    );
    await onlySessionIsLeft(await pids());
  });

  it('ends one that nobody waits for any more, and what it has started, before it says so', async () => {
    const stop = new AbortController();
    const running = runReloadCommand(forever, folder, { ...options, signal: stop.signal });
    const started = await pids();
    stop.abort();
    await expect(running).rejects.toThrow(/was stopped/);
    await onlySessionIsLeft(started);
  });

  it('kills one that does not heed', async () => {
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

  it('starts none that nobody waits for', async () => {
    const given = { ...options, signal: AbortSignal.abort() };
    await expect(runReloadCommand(['no-such-program'], folder, given)).rejects.toThrow(/was stopped/);
  });
});
