import { type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { root } from '../../bench/support/peers.js';
import {
  alongside,
  eventually,
  family,
  megabytesOf,
  processorSeconds,
  type Started,
  start,
} from '../../bench/support/processes.js';
import { lives } from '../support/processes.js';

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

test('a program that ends by itself is not waited for', async () => {
  const program = start(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await program.stop();
  expect(await program.ended).toBeNull();
});

/** Ignores the request to end, once it has said that it has started. */
const deaf = "process.on('SIGINT', () => {}); setInterval(() => {}, 1000); console.log(process.pid)";

test('a program that ignores the request to end is killed with what it has started', async () => {
  const child = `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(deaf)}], { stdio: 'inherit' })`;
  const script = `process.on('SIGINT', () => {}); ${child}`;
  const stdio: StdioOptions = ['ignore', 'pipe', 'inherit'];
  const program = start(process.execPath, ['-e', script], { stdio }, 100);
  started.push(program);
  const [line] = (await once(program.child.stdout!, 'data')) as [Buffer];
  await program.stop();
  expect(await program.ended).toBeNull();
  await expect.poll(() => lives(Number(line))).toBe(false);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('on %s a benchmark stops its programs, and ends', async (signal, expected) => {
  const script = `import { start } from './bench/support/processes.ts';
    const { child } = start(process.execPath, ['-e', ${JSON.stringify(deaf)}], { stdio: ['ignore', 'inherit', 'inherit'] }, 100);
    setInterval(() => {}, 1000);`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const benchmark = start(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(benchmark);
  const [line] = (await once(benchmark.child.stdout!, 'data')) as [Buffer];
  expect(lives(Number(line))).toBe(true);
  benchmark.child.kill(signal);
  expect(await benchmark.ended).toBe(expected);
  await expect.poll(() => lives(Number(line))).toBe(false);
});

test('a benchmark that fails leaves no programs behind', async () => {
  const script = `import { start } from './bench/support/processes.ts';
    const { child } = start(process.execPath, ['-e', ${JSON.stringify(deaf)}], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.once('data', (line) => process.stdout.write(line, () => { throw 'failed'; }));`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const benchmark = start(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
  started.push(benchmark);
  const [line] = (await once(benchmark.child.stdout!, 'data')) as [Buffer];
  expect(await benchmark.ended).toBe(1);
  await expect.poll(() => lives(Number(line))).toBe(false);
});

const forever = new Promise<never>(() => {});

test('waiting ends when a program has ended, or with the last error when its time is up', async () => {
  const programs = (ended: Promise<number | null>) => new Map([['Redis', { ended }]]);
  await expect(eventually(programs(Promise.resolve(3)), 'its start', () => forever)).rejects.toThrow(
    'Redis ended (exit code 3) before its start',
  );
  const failure = new Error('refused');
  const late = eventually(programs(forever), 'its start', () => Promise.reject(failure), 0);
  await expect(late).rejects.toMatchObject({
    message: expect.stringContaining('its start has not'),
    cause: failure,
  });
  let tries = 0;
  const found = eventually(programs(forever), 'its start', async () => (tries++ === 0 ? undefined : 'found'));
  expect(await found).toBe('found');
});

test('a program that cannot be started fails where one waits for it', async () => {
  const program = start('./no-such-program', []);
  await expect(alongside(new Map([['it', program]]), 'its start', forever)).rejects.toThrow(/ENOENT/);
});
