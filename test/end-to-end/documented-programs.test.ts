import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt, projectRoot as root } from './program.js';

const run = promisify(execFile);

/** The programs and plugins on a page, in order. */
async function programsOf(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
}

let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  // Within the package, so that its own name leads to its built modules.
  folder = await mkdtemp(join(root, 'test/end-to-end/.documented-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the programs in the documentation', () => {
  it('pass the compiler', async () => {
    const files: string[] = [];
    for (const page of ['docs/library.md', 'docs/optimizers.md', 'docs/feedback.md']) {
      for (const [i, code] of (await programsOf(page)).entries()) {
        const file = `${page.replace(/\W/g, '_')}_${i}.ts`;
        await writeFile(join(folder, file), `${code}\nexport {};\n`);
        files.push(file);
      }
    }
    expect(files.length).toBeGreaterThan(3);
    const settings = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: { noUnusedLocals: false },
      files,
    };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings));
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [compiler, '-p', folder, '--rootDir', root]).catch(
      (error: { stdout: string }) => {
        throw new Error(error.stdout);
      },
    );
  });

  it('run', async () => {
    const [loop, environment, wholeRun] = await programsOf('docs/library.md');
    const output = await mkdtemp(join(tmpdir(), 'pmpo-documented-'));
    const printed = async (name: string, code: string) => {
      const file = join(folder, `${name}.mts`);
      await writeFile(file, code);
      const { stdout } = await run(process.execPath, ['--import', 'tsx', file], { cwd: root });
      return stdout;
    };
    try {
      const logits = (await printed('loop', loop!)).match(/-?\d+\.\d+/g)!.map(Number);
      expect(logits.map(Math.sign)).toEqual([1, 1, 1, 1, -1, -1, -1, -1]);
      expect(await printed('environment', environment!)).toMatch(/^return \d+\.\d+\n$/);
      const elsewhere = wholeRun!.replace(
        '[steps]',
        `[steps, { label: 'output', path: ['output'], value: '${output}' }]`,
      );
      expect(await printed('run', elsewhere)).toMatch(/^report \S+report\.html \d+/m);
    } finally {
      await rm(output, { recursive: true, force: true });
    }
  });
});
