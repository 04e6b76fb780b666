import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findInterpreter } from './interpreter.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-test-'));
  for (const version of ['3.9.18', '3.10.0', '3.14.2', '2.7.18', '4.0.0']) {
    const path = join(folder, `python-${version}`);
    await writeFile(path, `#!/bin/sh\necho ${version} linux-x86_64\n`);
    await chmod(path, 0o755);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.skipIf(process.platform === 'win32')('Python', () => {
  test.each(['3.10.0', '3.14.2', '4.0.0'])('%s is accepted', async (version) => {
    const command = join(folder, `python-${version}`);
    expect(await findInterpreter({ PYTHON: command })).toEqual({
      command,
      version,
      platform: 'linux-x86_64',
    });
  });

  test.each(['3.9.18', '2.7.18'])('%s is too old, and is not replaced by another one', async (version) => {
    await expect(findInterpreter({ PYTHON: join(folder, `python-${version}`) })).rejects.toThrow(
      new RegExp(`^PYTHON=.*python-${version}: .* is ${version}\\. Install Python 3\\.10 or newer`),
    );
  });

  test('that does not exist is named in the error', async () => {
    await expect(findInterpreter({ PYTHON: '/no/such' })).rejects.toThrow(
      /^PYTHON=\/no\/such: not found\. Install Python 3\.10 or newer .*, or set PYTHON to its path$/,
    );
  });
});
