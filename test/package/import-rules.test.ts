import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

interface ImportRules {
  picture(): string;
  violations(folder: string): string[];
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const rules = (await import(join(root, 'scripts/import-rules.mjs'))) as ImportRules;

let copy: string;
beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), 'pmpo-imports-'));
});
afterAll(() => rm(copy, { recursive: true, force: true }));

test('the folders of src import each other in one direction, without circles', () => {
  expect(rules.violations(join(root, 'src'))).toEqual([]);
});

test.each([
  ['an import', "import { pmpo } from '../operators/pmpo.js';\n"],
  ['a type-only import', "import type {\n  PmpoSettings,\n} from '../operators/pmpo.js';\n"],
  ['a re-export', "export * from '../operators/pmpo.js';\n"],
  ['a dynamic import', "const pmpo = await import('../operators/pmpo.js');\n"],
  ['an import for its effects', "import '../operators/pmpo.js';\n"],
])('%s against an arrow is found', async (_, line) => {
  const source = join(copy, 'src');
  await cp(join(root, 'src'), source, { recursive: true });
  const file = join(source, 'core/errors.ts');
  await writeFile(file, line + (await readFile(file, 'utf8')));
  const found = rules.violations(source);
  expect(found).toContainEqual('core/errors.ts imports operators/pmpo.ts: core may import nothing');
  expect(found.some((one) => /^a circle of imports: .*core\/errors\.ts/.test(one))).toBe(true);
});

test('a folder that the rules do not know is found', async () => {
  const source = join(copy, 'other');
  await mkdir(join(source, 'drawer'), { recursive: true });
  await writeFile(join(source, 'drawer/things.ts'), 'export const thing = 1;\n');
  expect(rules.violations(source)).toEqual(['drawer has no arrows in scripts/import-rules.mjs']);
});

test('docs/design.md shows the directions', async () => {
  expect(await readFile(join(root, 'docs/design.md'), 'utf8')).toContain(rules.picture());
});
