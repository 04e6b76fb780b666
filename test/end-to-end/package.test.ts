import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, temporaryFolder } from './program.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

test('the package holds what it runs on, and its program runs without the sources', async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    maxBuffer: 2 ** 26,
  });
  const listed: unknown = JSON.parse(stdout);
  // npm 12 names the package, older ones make a list.
  const packed = (Array.isArray(listed) ? listed[0] : Object.values(listed as object)[0]) as {
    files: readonly { path: string }[];
  };
  const files = packed.files.map(({ path }) => path);
  const { bin, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  expect(files).toContain(bin.pmpo);
  expect(files).toContain('plugins/torch-trainer/pmpo_torch_trainer/__main__.py');
  expect(files.filter((path) => path.startsWith('src/') || path.startsWith('test/'))).toEqual([]);

  const installed = join(folder.path, 'installed');
  for (const path of files.filter((one) => /^(dist|scripts|proto)\/|^package\.json$/.test(one))) {
    await mkdir(dirname(join(installed, path)), { recursive: true });
    await cp(join(root, path), join(installed, path));
  }
  await symlink(join(root, 'node_modules'), join(installed, 'node_modules'));
  const said = await run(process.execPath, [join(installed, bin.pmpo), '--version']);
  expect(said.stdout).toBe(`${version}\n`);
  expect(said.stderr).toBe('');
});
