import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, it, vi } from 'vitest';

const scripts = resolve(import.meta.dirname, '../scripts');

it.each(['abc', '0', '', '1.5', '-1'])('test:interop refuses PMPO_INTEROP_PARTS=%s', (parts) => {
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    [join(scripts, 'test-interop.mjs'), 'serve'],
    {
      env: { ...process.env, PMPO_INTEROP_PARTS: parts },
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  expect(stderr + stdout).toContain(
    `PMPO_INTEROP_PARTS must be a whole number of at least 1, and is '${parts}'`,
  );
  expect(status).toBe(2);
});

const isAlive = (id: number) => {
  try {
    return process.kill(id, 0);
  } catch {
    return false;
  }
};

it('a part that ignores SIGTERM is killed after its time, with what it started', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pmpo-late-'));
  const stays = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000);";
  const starts = `
    const { spawn } = require('node:child_process');
    const { writeFileSync } = require('node:fs');
    ${stays}
    const child = spawn(process.execPath, ['-e', ${JSON.stringify(stays)}], { stdio: 'ignore' });
    writeFileSync('ids', process.pid + ' ' + child.pid);`;
  const program = `
    import { runInTime } from ${JSON.stringify(join(scripts, 'run-in-time.mjs'))};
    await runInTime(process.execPath, ['-e', ${JSON.stringify(starts)}], { stdio: 'ignore' }, 3000, 500);
    console.log('ended');`;
  try {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 40_000,
    });
    expect(stderr + stdout).toBe('ended\n');
    const ids = readFileSync(join(folder, 'ids'), 'utf8').split(' ').map(Number);
    expect(ids).toHaveLength(2);
    await vi.waitFor(() => expect(ids.filter(isAlive)).toEqual([]), { timeout: 10_000 });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
