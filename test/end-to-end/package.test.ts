import { execFile } from 'node:child_process';
import { copyFile, link, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publicModules } from '../../src/public-modules.js';
import { ensureBuilt, temporaryFolder } from './program.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

interface PackageJson {
  readonly version: string;
  readonly bin: { readonly pmpo: string };
  readonly exports: Readonly<Record<string, unknown>>;
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let manifest: PackageJson;
/** The files of the tarball, as paths from its root. */
let packed: readonly string[];
/** A project of a user that has installed the tarball: node_modules holds it and what it depends on. */
let project: string;

/** Puts the file at `to`, without a copy where the file system allows it. */
async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await link(from, to).catch(() => copyFile(from, to));
}

async function placeTree(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await placeTree(source, target);
    else if (entry.isFile()) await place(source, target);
  }
}

/** The folders below node_modules that npm installs for a user: everything except development dependencies. */
async function dependencies(): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { dev?: boolean; optional?: boolean; peer?: boolean }>>;
  };
  const wanted = Object.entries(lock.packages).filter(
    ([path, { dev, optional, peer }]) => path !== '' && !dev && !optional && !peer,
  );
  // A folder brings the folders inside it.
  return wanted.map(([path]) => path).filter((path) => path.lastIndexOf('node_modules/') === 0);
}

beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
  project = join(folder.path, 'project');
  manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    maxBuffer: 2 ** 26,
  });
  const listed: unknown = JSON.parse(stdout);
  // npm 12 gives an object by package name, older versions a list.
  const { files } = (Array.isArray(listed) ? listed[0] : Object.values(listed as object)[0]) as {
    files: readonly { path: string }[];
  };
  packed = files.map(({ path }) => path);
  for (const path of packed) await place(join(root, path), join(project, 'node_modules/pmpo', path));
  for (const path of await dependencies()) await placeTree(join(root, path), join(project, path));
  await writeFile(join(project, 'package.json'), '{ "type": "module" }');
});
afterAll(() => folder.remove());

test('the package holds what it runs on, and its program runs without the sources', async () => {
  expect(packed).toContain(manifest.bin.pmpo);
  expect(packed).toContain('plugins/torch-trainer/pmpo_torch_trainer/__main__.py');
  expect(packed.filter((path) => path.startsWith('src/') || path.startsWith('test/'))).toEqual([]);
  const program = join(project, 'node_modules/pmpo', manifest.bin.pmpo);
  const said = await run(process.execPath, [program, '--version']);
  expect(said.stdout).toBe(`${manifest.version}\n`);
  expect(said.stderr).toBe('');
});

test('every relative link in README.md leads to something in the package', async () => {
  const text = await readFile(join(root, 'README.md'), 'utf8');
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!.split('#')[0]!);
  const relative = links.filter((target) => target !== '' && !/^[a-z]+:/.test(target));
  expect(relative.length).toBeGreaterThan(5);
  for (const target of relative) {
    await expect(stat(join(project, 'node_modules/pmpo', target)), target).resolves.toBeDefined();
  }
});

test('README.md shows the library example as it is', async () => {
  const example = await readFile(join(root, 'examples/library/train.ts'), 'utf8');
  expect(await readFile(join(root, 'README.md'), 'utf8')).toContain(`\`\`\`ts\n${example}\`\`\``);
});

test('plugins may import every module that programs may import', () => {
  const doors = Object.keys(manifest.exports).filter((door) => !/package\.json|browser-types/.test(door));
  expect(Object.keys(publicModules).sort()).toEqual(doors.map((door) => door.replace('.', 'pmpo')).sort());
});

describe('a program of the user', () => {
  beforeAll(async () => {
    for (const name of ['train.ts', 'compiled.ts', 'tsconfig.json']) {
      await place(join(root, 'examples/library', name), join(project, name));
    }
  });

  test('compiles with `strict` and without `skipLibCheck`, and runs', async () => {
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    const compile = async () => {
      const args = [compiler, '-p', '.', '--noEmit', 'false'];
      const ended = await run(process.execPath, args, { cwd: project }).catch(
        (error: { stdout: string }) => error,
      );
      return ended.stdout;
    };
    expect(await compile()).toBe('');
    // Once more with every module: their types must compile, too.
    const doors = Object.keys(publicModules).map((door, i) => `export * as door${i} from '${door}';\n`);
    await writeFile(join(project, 'doors.ts'), doors.join(''));
    expect(await compile()).toBe('');
    await run(process.execPath, ['doors.js'], { cwd: project });
    for (const program of ['train.js', 'compiled.js']) {
      const { stdout, stderr } = await run(process.execPath, [program], { cwd: project });
      expect(stderr).toBe('');
      expect(Number(/500: (\S+)/.exec(stdout)?.[1])).toBeLessThan(0.1);
    }
  });

  test.each([
    ['a value out of range', 'pmpo({ alpha: 7 })', /alpha.*1/],
    ['a misspelt setting', 'pmpo({ aplha: 1 })', /aplha/],
    ['a misspelt part of the KL', 'pmpo({ kl: { covarianc: 50 } })', /covarianc/],
    [
      'a log-prob of one axis',
      'pmpo().loss({ ...batch, logProb: tf.zeros([3]) })',
      /logProb.*\[3\].*\[N, B\]/,
    ],
    ['no KL', 'pmpo().loss({ ...batch, kl: undefined })', /batch\.kl: is missing/],
    ['no state', 'mpo().loss({ ...batch, evaluation: plane })', /state/],
  ])('gets one clear error for %s', async (_, call, message) => {
    const file = join(project, 'misuse.js');
    await writeFile(
      file,
      `import { tf } from 'pmpo/engine';
      import { mpo, pmpo } from 'pmpo/operators';
      const plane = tf.zeros([4, 3]);
      const kl = { exact: true, parts: { mean: tf.zeros([3, 2]) } };
      const batch = { logProb: plane, referenceLogProb: plane, accept: plane, reject: plane, kl };
      try { ${call}; } catch (error) { console.log(error.name + ': ' + error.message); }`,
    );
    const { stdout } = await run(process.execPath, [file]);
    expect(stdout).toMatch(message);
    expect(stdout).toMatch(/^(Config|Pmpo)Error: (operator )?p?mpo, /);
    expect(stdout.trim().split('\n')).toHaveLength(1);
  });
});
