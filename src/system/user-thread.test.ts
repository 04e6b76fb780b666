import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

it('a closed thread leaves no timer that keeps the process alive', () => {
  const entry = `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ id }) => parentPort.postMessage({ id }));`)}`;
  const program = `
    const { UserThread } = await import(${JSON.stringify(new URL('user-thread.ts', import.meta.url).href)});
    const thread = new UserThread(new URL(${JSON.stringify(entry)}), {}, () => {});
    await thread.request('open');
    await thread.close();
    console.log(process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length);`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', program],
    { encoding: 'utf8', timeout: 60_000 },
  );
  expect(stderr + stdout).toBe('0\n');
}, 60_000);
