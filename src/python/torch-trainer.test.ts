import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { startTorchTrainer } from './torch-trainer.js';

let folder: string;
let python: string;
// A script in place of the interpreter: it takes a while to end, and then writes a file.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-trainer-'));
  python = join(folder, 'python');
  const script = `#!/bin/sh
trap 'sleep 0.3; echo > "$0.ended"; exit 0' TERM
echo 'Serving tiny on 127.0.0.1:1 (Ctrl-C ends it)'
while :; do sleep 0.05; done
`;
  await writeFile(python, script, { mode: 0o755 });
});
afterEach(() => {
  vi.useRealTimers();
  return rm(`${python}.ended`, { force: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(process.platform === 'win32')('the closing of a trainer', () => {
  test.each([
    ['in one process may take ten seconds', [], 9, true],
    ['in one process may not take longer', [], 11, false],
    ['in several processes may take the time that their launcher gives them', ['--processes', '2'], 40, true],
    ['in several processes may not take longer', ['--processes', '2'], 46, false],
  ] as const)('%s', async (_, args, seconds, ended) => {
    const trainer = await startTorchTrainer({ port: 0, args, python, say: () => {} });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const closed = trainer.close();
    vi.advanceTimersByTime(seconds * 1000);
    await closed;
    expect(existsSync(`${python}.ended`)).toBe(ended);
  });
});
