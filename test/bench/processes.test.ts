import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { family, megabytesOf, processorSeconds, type Started, start } from '../../bench/support/processes.js';

const started: Started[] = [];
afterEach(async () => {
  for (const one of started.splice(0)) await one.stop();
});

const busy = 'while (process.cpuUsage().user < 500_000); setInterval(() => {}, 1000)';

test.runIf(process.platform === 'linux')(
  'a program has its children in its family, and uses time and memory',
  async () => {
    const child = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(busy)}], { stdio: 'inherit' })`;
    const program = start(process.execPath, ['-e', `${child}; setInterval(() => {}, 1000)`]);
    started.push(program);
    await expect.poll(() => family(program.pid)).toHaveLength(2);
    const pids = family(program.pid);
    expect(pids[0]).toBe(program.pid);
    await expect.poll(() => processorSeconds(pids)).toBeGreaterThan(0.4);
    expect(megabytesOf(pids)).toBeGreaterThan(megabytesOf([program.pid]));
  },
);

test.runIf(process.platform === 'linux')(
  'processor time and memory are near those that Node reports of itself',
  async () => {
    const script =
      "process.on('message', () => process.send([process.cpuUsage(), process.memoryUsage().rss]))";
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    try {
      child.send('');
      const [[{ user, system }, resident]] = (await once(child, 'message')) as [[NodeJS.CpuUsage, number]];
      // /proc counts in hundredths of a second, for user and system each.
      expect(processorSeconds([child.pid!])).toBeCloseTo((user + system) / 1e6, 1);
      expect(megabytesOf([child.pid!])).toBeLessThanOrEqual(1.2 * (resident / 1e6));
    } finally {
      child.kill();
    }
  },
);

test('a program that ignores the request to end is asked no longer than until it has ended', async () => {
  const program = start(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await program.stop();
  expect(await program.ended).toBeNull();
});
