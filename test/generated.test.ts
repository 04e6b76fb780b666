import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const committed = join(root, 'src/generated');
const fresh = mkdtempSync(join(tmpdir(), 'pmpo-generated-'));
execFileSync(process.execPath, [join(root, 'scripts/generate-messages.mjs'), '--output', fresh]);
afterAll(() => rmSync(fresh, { recursive: true }));

describe('the message types in src/generated are those of the .proto files (if not: npm run generate)', () => {
  it('has no file too many or too few', () => {
    expect(readdirSync(committed).sort()).toEqual(readdirSync(fresh).sort());
  });

  it.each(readdirSync(fresh))('%s', (name) => {
    expect(readFileSync(join(committed, name), 'utf8')).toBe(readFileSync(join(fresh, name), 'utf8'));
  });
});
