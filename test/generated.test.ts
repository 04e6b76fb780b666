import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const committed = join(root, 'src/generated');
const descriptions = join(root, 'plugins/python/pmpo');
const fresh = mkdtempSync(join(tmpdir(), 'pmpo-generated-'));
execFileSync(process.execPath, [join(root, 'scripts/generate-messages.mjs'), '--output', fresh]);
afterAll(() => rmSync(fresh, { recursive: true }));

const isDescription = (name: string) => name.endsWith('.binpb');

describe('what is generated from the .proto files is what they say (if not: npm run generate)', () => {
  it('has no file too many or too few', () => {
    const types = readdirSync(fresh).filter((name) => !isDescription(name));
    expect(readdirSync(committed).sort()).toEqual(types.sort());
  });

  it.each(readdirSync(fresh))('%s', (name) => {
    const file = join(isDescription(name) ? descriptions : committed, name);
    expect(readFileSync(file).equals(readFileSync(join(fresh, name)))).toBe(true);
  });
});
