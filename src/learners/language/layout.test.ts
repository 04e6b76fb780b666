import { describe, expect, it } from 'vitest';
import { readFixture } from '../../../test/references/read.js';
import { type ChatLayouts, differences } from '../../../test/support/chat-layouts.js';

const layouts = readFixture<ChatLayouts>('chat_layouts_trl');

describe('layOutContext', () => {
  it.each(Object.keys(layouts.families))('lays out conversations and texts of %s as TRL does', (name) => {
    const found = differences(layouts, name);
    expect(found.slice(0, 3), `${found.length} rows differ`).toEqual([]);
  });
});
