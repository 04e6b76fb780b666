import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { lives } from '../../test/support/processes.js';
import { cacheFolder } from '../system/cache-folder.js';
import type { Interpreter } from './interpreter.js';
import { ensureVirtualEnvironment, madeEnvironments } from './virtual-environment.js';

// A fake Python: `-m venv FOLDER` and `-m pip install …` run the test's scripts and record that they were called. Tests with the
// real ones are in test/interop/simulator_server.
let scratch: string;
let interpreter: Interpreter;
let requirements: string;
let folder: string;
let said: string[];

async function program(path: string, script: string): Promise<string> {
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

/** Writes the fake Python; `venv` and `pip` are additional commands of its two functions. */
async function setPython({ venv = ':', pip = ':' } = {}): Promise<void> {
  const inside = await program(join(scratch, 'inside'), `echo pip >> ${scratch}/calls\n${pip}`);
  await program(
    join(scratch, 'python'),
    `echo venv >> ${scratch}/calls\n${venv}\nmkdir -p "$3/bin" && cp ${inside} "$3/bin/python"`,
  );
}

const calls = async () => (await readFile(join(scratch, 'calls'), 'utf8').catch(() => '')).trim().split('\n');
const make = (signal?: AbortSignal, additions?: readonly string[]) =>
  ensureVirtualEnvironment({
    requirements,
    additions,
    folder,
    interpreter,
    signal,
    say: (line) => said.push(line),
  });

beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'pmpo-test-'));
  interpreter = { command: join(scratch, 'python'), version: '3.12.1', platform: 'linux-x86_64' };
  requirements = join(scratch, 'simulators.txt');
  folder = join(scratch, 'cache', 'python');
  said = [];
  await writeFile(requirements, 'dm-control==1.0.50\n');
  await setPython();
});
afterEach(() => rm(scratch, { recursive: true, force: true }));

describe.skipIf(process.platform === 'win32')('a Python environment', () => {
  test('is made once, with a message, and reused silently the next time', async () => {
    const python = await make();
    expect(python).toMatch(/cache\/python\/simulators-[0-9a-f]{12}\/bin\/python$/);
    expect(said[0]).toMatch(/^Making the Python environment 'simulators' in .*3\.12\.1, once/);
    said = [];
    expect(await make()).toBe(python);
    expect(said).toEqual([]);
    expect(await calls()).toEqual(['venv', 'pip']);
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^simulators-[0-9a-f]{12}$/)]);
    expect(await madeEnvironments(folder)).toEqual(await readdir(folder));
  });

  test('is another one for other requirements and for another Python', async () => {
    const first = await make();
    await writeFile(requirements, 'dm-control==1.0.51\n');
    const second = await make();
    interpreter = { ...interpreter, version: '3.12.2' };
    const third = await make();
    expect(new Set([first, second, third]).size).toBe(3);
  });

  test('has scripts that name the folder in which it is found', async () => {
    const script =
      'printf "#!%s/bin/python3\\n" "$3" > "$3/bin/pip"; echo "VIRTUAL_ENV=$3" > "$3/bin/activate"';
    await setPython({ venv: `mkdir -p "$3/bin"; ${script}; echo "command = venv $3" > "$3/pyvenv.cfg"` });
    const path = (await make()).replace(/\/bin\/python$/, '');
    expect(await readFile(join(path, 'bin', 'pip'), 'utf8')).toBe(`#!${path}/bin/python3\n`);
    expect(await readFile(join(path, 'bin', 'activate'), 'utf8')).toBe(`VIRTUAL_ENV=${path}\n`);
    expect(await readFile(join(path, 'pyvenv.cfg'), 'utf8')).toBe(`command = venv ${path}\n`);
  });

  test('with additions is another one: they are installed in their folder, with the versions of the list', async () => {
    await setPython({ pip: `echo "$PWD $*" >> ${scratch}/pips` });
    const more = join(scratch, 'more.txt');
    await writeFile(more, './mine\n');
    const plain = await make();
    const added = await make(undefined, [more]);
    expect(added).toMatch(/python\/simulators\+more-[0-9a-f]{12}\/bin\/python$/);
    expect(await make(undefined, [more])).toBe(added);
    expect(added).not.toBe(plain);
    const pips = (await readFile(join(scratch, 'pips'), 'utf8')).trim().split('\n');
    expect(pips).toHaveLength(3);
    expect(pips[1]).toMatch(/ --no-deps --requirement .*simulators\.txt$/);
    expect(pips[2].startsWith(`${await realpath(scratch)} `)).toBe(true);
    expect(pips[2]).toMatch(/ --requirement .*more\.txt --constraint .*simulators\.txt$/);
    expect(pips[2]).not.toContain('--no-deps');
    await expect(make(undefined, ['/no/such.txt'])).rejects.toThrow(/^\/no\/such\.txt: it cannot be read: /);
  });

  test('may be made by several processes at once', async () => {
    await setPython({ pip: 'sleep 0.2' });
    const pythons = await Promise.all([make(), make(), make()]);
    expect(new Set(pythons).size).toBe(1);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test('is not used if pip fails: the error has its message, and the next start tries again', async () => {
    await setPython({
      pip: 'echo "WARNING: old" >&2; echo "ERROR: No matching distribution found for x" >&2; exit 1',
    });
    await expect(make()).rejects.toThrow(
      /^pip install -r .*simulators\.txt: ERROR: No matching distribution found for x\. Check that the package index is reachable/,
    );
    expect(await readdir(folder)).toEqual([]);
    await setPython();
    await make();
    expect(await madeEnvironments(folder)).toHaveLength(1);
  });

  test('says what to install if Python has no venv module', async () => {
    await setPython({ venv: 'echo "Error: ensurepip is not available." >&2; exit 1' });
    await expect(make()).rejects.toThrow(/ensurepip is not available\. Install Python's venv module/);
  });

  test('stops together with the children of pip when the signal is aborted', async () => {
    await setPython({ pip: `sleep 100 & echo $! > ${scratch}/helper; wait` });
    const stop = new AbortController();
    const making = expect(make(stop.signal)).rejects.toThrow(/stopped before it was complete/);
    const helper = await vi.waitFor(
      async () => {
        const line = await readFile(join(scratch, 'helper'), 'utf8');
        expect(line).toMatch(/^\d+\n$/);
        return Number(line);
      },
      { timeout: 30_000 },
    );
    expect(lives(helper)).toBe(true);
    stop.abort();
    await making;
    expect(await readdir(folder)).toEqual([]);
    await expect.poll(() => lives(helper)).toBe(false);
  });

  test('is made again if the Python that it was made with was uninstalled', async () => {
    const python = await make();
    await rm(python);
    await symlink(join(scratch, 'gone'), python);
    said = [];
    expect(await make()).toBe(python);
    expect(said[0]).toMatch(/^Making/);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test('removes what a killed process left behind, and nothing of a running one', async () => {
    const whole = await make();
    const path = whole.replace('/bin/python', '');
    await rm(path, { recursive: true });
    await mkdir(`${path}.${hostname()}.${2 ** 22 + 7}.0`);
    await mkdir(`${path}.${hostname()}.${process.ppid}.0`);
    await mkdir(`${path}.elsewhere.1`);
    await make();
    expect((await readdir(folder)).map((name) => name.replace(/^.*-[0-9a-f]{12}\.?/, ''))).toEqual(
      ['', `${hostname()}.${process.ppid}.0`, 'elsewhere.1'].sort(),
    );
  });

  test('names the folder if it cannot be made there', async () => {
    await writeFile(join(scratch, 'cache'), '');
    await expect(make()).rejects.toThrow(/cannot be made there: .*Set PMPO_CACHE/s);
  });
});

test('the cache folder is PMPO_CACHE, or else in the cache folder of the user', () => {
  expect(cacheFolder({ PMPO_CACHE: '/x', XDG_CACHE_HOME: '/y' })).toBe('/x');
  expect(cacheFolder({ XDG_CACHE_HOME: '/y' })).toBe('/y/pmpo');
  expect(cacheFolder({})).toMatch(/\/\.cache\/pmpo$/);
});
