import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

  const forever = node('setInterval(() => {}, 1000)');
  it('ends one that takes too long', async () => {
    await expect(runReloadCommand(forever, folder, { deadlineSeconds: 0.2 })).rejects.toThrow(
      /did not end within 0\.2 s\. Raise language\.model\.sampler\.publish\.deadlineSeconds/,
    );
  });

  it('ends one that nobody waits for any more', async () => {
    const stop = new AbortController();
    const running = runReloadCommand(forever, folder, { ...options, signal: stop.signal });
    stop.abort();
    await expect(running).rejects.toThrow(/was stopped/);
  });
});
