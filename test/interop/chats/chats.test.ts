import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { readFixture } from '../../references/read.js';
import { type ChatLayouts, differences } from '../../support/chat-layouts.js';

const folder = mkdtempSync(join(tmpdir(), 'pmpo-chats-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs test/references/chat_layouts_trl.py, so that transformers and TRL lay out the conversations of a seed. */
function layoutsOf(seed: number): ChatLayouts {
  const script = new URL('../../references/chat_layouts_trl.py', import.meta.url).pathname;
  const file = join(folder, `${seed}.json.gz`);
  execFileSync(process.env.PMPO_PYTHON_TRL!, ['-B', script, file, '--seed', String(seed)]);
  return JSON.parse(gunzipSync(readFileSync(file)).toString()) as ChatLayouts;
}

const committed = readFixture<ChatLayouts>('chat_layouts_trl');
const seed = Math.floor(Math.random() * 2 ** 31);
const fresh = layoutsOf(seed);

describe('chats', () => {
  it('are laid out by transformers and TRL as when the fixture was written', () => {
    expect(layoutsOf(0)).toEqual(committed);
  });

  it('are enough families and conversations', () => {
    expect(Object.keys(committed.families).length).toBeGreaterThanOrEqual(15);
    expect(fresh.rows.filter(({ prompt }) => typeof prompt !== 'string')).toHaveLength(200);
  });

  it.each(Object.keys(fresh.families))(`of %s are laid out as TRL does (seed ${seed})`, (name) => {
    const found = differences(fresh, name);
    expect(found.slice(0, 3), `${found.length} rows differ`).toEqual([]);
  });
});
