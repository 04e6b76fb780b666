import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { ensureBuilt, projectRoot, run } from './program.js';

beforeAll(ensureBuilt);

test('pmpo profile prints where the time goes, writes a trace, and leaves no run behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-profile-test-'));
  try {
    const trace = join(folder, 'trace.json');
    const example = join(projectRoot, 'examples/cartpole.yaml');
    const args = ['profile', example, '--steps', '160', '--trace', trace, '--output', join(folder, 'runs')];
    const { code, stdout, stderr } = await run(args);
    expect(stderr).not.toContain('pmpo:');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\d+ environment steps and \d+ updates in [\d.]+ s: /);
    for (const row of ['environments', 'act', 'improvementStep', 'idle', 'Gemm']) {
      expect(stdout).toMatch(new RegExp(`^  ${row} +.*\\d`, 'm'));
    }
    const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as { traceEvents: unknown[] };
    expect(traceEvents.length).toBeGreaterThan(100);
    await expect(readFile(join(folder, 'runs'))).rejects.toThrow('ENOENT');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
