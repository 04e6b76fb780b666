import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { publicModules } from './public-modules.js';
import { importUserModule } from './system/user-module.js';

const names = Object.keys(packageJson.exports)
  .filter((path) => existsSync(new URL(join(path, 'index.ts'), import.meta.url)))
  .map((path) => posix.join('pmpo', path));

it('gives user modules every public subpath of the package', () => {
  expect(names).toContain('pmpo/language');
  expect(Object.keys(publicModules).toSorted()).toEqual(names.toSorted());
});

it('names the right module when a user module imports a name from the wrong one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-user-module-'));
  const file = join(folder, 'old.ts');
  await writeFile(file, "import { tf } from 'pmpo';\nexport const use = () => tf.scalar(1);\n");
  const { use } = await importUserModule(file, 'the test', publicModules);
  expect(use).toThrow("import from 'pmpo': it does not export 'tf'. Import it from 'pmpo/engine'");
  await rm(folder, { recursive: true });
});

it('gives user modules the module objects of this process', async () => {
  // Outside the repository: no node_modules above it.
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-user-module-'));
  const file = join(folder, 'all.ts');
  await writeFile(file, names.map((name, i) => `export * as module${i} from '${name}';\n`).join(''));
  const loaded = await importUserModule(file, 'the test', publicModules);
  for (const [i, name] of names.entries()) {
    const expected: Readonly<Record<string, unknown>> = { ...(await publicModules[name]!()) };
    expect(Object.keys(expected).length).toBeGreaterThan(0);
    const found = loaded[`module${i}`] as Readonly<Record<string, unknown>>;
    for (const [key, value] of Object.entries(expected)) expect(found[key], `${name}: ${key}`).toBe(value);
  }
  await rm(folder, { recursive: true });
});
