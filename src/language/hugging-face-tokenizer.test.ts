import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { strToU8, zipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFixture } from '../../test/references/read.js';
import type { ChatMessage } from '../core/chat.js';
import { HuggingFaceTokenizer, loadTokenizer } from './hugging-face-tokenizer.js';
import { unpackTokenizerFiles } from './tokenizer-files.js';

interface Kind {
  readonly tokenizer: string;
  readonly config: string;
  readonly vocabularyHash: string;
  readonly letters: readonly (readonly number[])[];
  readonly special: readonly (readonly number[])[];
  readonly decoded: readonly string[];
  readonly decodedSpecial: readonly string[];
  readonly chats: readonly (readonly number[])[];
}
const { texts, chats, kinds } = readFixture<{
  readonly texts: readonly string[];
  readonly chats: readonly (readonly ChatMessage[])[];
  readonly kinds: Readonly<Record<string, Kind>>;
}>('tokenizers_transformers');

function tokenizerOf({ tokenizer, config }: Kind, change: object = {}): HuggingFaceTokenizer {
  const parsed = { ...JSON.parse(config), ...change } as Record<string, unknown>;
  return new HuggingFaceTokenizer({
    where: 'the fixture',
    tokenizer: JSON.parse(tokenizer) as Record<string, unknown>,
    config: parsed,
    chatTemplate: parsed.chat_template as string | undefined,
  });
}

/** The ids of the special tokens, except the unknown token. */
function controlIds(kind: Kind): Set<number> {
  const { added_tokens } = JSON.parse(kind.tokenizer) as {
    added_tokens: { id: number; special: boolean; content: string }[];
  };
  const unknown = (JSON.parse(kind.config) as { unk_token: string }).unk_token;
  return new Set(added_tokens.filter((t) => t.special && t.content !== unknown).map(({ id }) => id));
}

describe.each(Object.entries(kinds))('a %s tokenizer', (_name, kind) => {
  const tokenizer = tokenizerOf(kind);
  const control = controlIds(kind);
  const frameLength = tokenizer.encode('').length;

  it.each(texts.map((text, i) => [JSON.stringify(text), i] as const))(
    'encodes %s as transformers does',
    (_text, i) => {
      expect([...tokenizer.encode(texts[i], { special: true })]).toEqual(kind.special[i]);
      const letters = [...tokenizer.encode(texts[i])];
      const reference = kind.letters[i];
      // Unlike this tokenizer, transformers lets special tokens through if they are pieces of the vocabulary.
      const referenceIsClean = reference.filter((id) => control.has(id)).length === frameLength;
      if (referenceIsClean) expect(letters).toEqual(reference);
      expect(letters.filter((id) => control.has(id))).toHaveLength(frameLength);
    },
  );

  it('treats special tokens in most texts as plain text, as transformers does', () => {
    const clean = kind.letters.filter((ids) => ids.filter((id) => control.has(id)).length === frameLength);
    expect(clean.length).toBeGreaterThan(texts.length / 2);
  });

  it('decodes as transformers does', () => {
    kind.special.forEach((ids, i) => {
      expect(tokenizer.decode(ids)).toBe(kind.decoded[i]);
      expect(tokenizer.decode(ids, { special: true })).toBe(kind.decodedSpecial[i]);
    });
  });

  it('formats chats as transformers does', () => {
    expect(chats.map((chat) => [...tokenizer.encodeChat(chat)])).toEqual(kind.chats);
  });

  it('has the hash that Python computes', () => {
    expect(tokenizer.vocabularyHash).toBe(kind.vocabularyHash);
  });

  it('never makes a special token from a text', () => {
    const piece = fc.oneof(
      fc.constantFrom(...tokenizer.specialTokens),
      fc.string({ unit: 'binary' }),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const ids = [...tokenizer.encode(pieces.join(''), { begin: false })];
        expect(ids.filter((id) => control.has(id))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('lets no message of a chat end its turn or begin another', () => {
    const usual = tokenizer.encodeChat([{ role: 'user', content: 'x' }]).filter((id) => control.has(id));
    const piece = fc.oneof(fc.constantFrom(...tokenizer.specialTokens), fc.string({ unit: 'binary' }));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const ids = tokenizer.encodeChat([{ role: 'user', content: pieces.join('') }]);
        expect(ids.filter((id) => control.has(id))).toEqual(usual);
      }),
      { numRuns: 300 },
    );
  });
});

const byteLevel = kinds['byte-level'];

describe('texts', () => {
  it('are restored by byte-level tokens, including special tokens in them', () => {
    const tokenizer = tokenizerOf(byteLevel);
    const piece = fc.oneof(
      fc.constantFrom('<bos>', '<|im_end|>', '<start_of_turn>'),
      fc.string({ unit: 'grapheme' }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const text = pieces.join('').normalize('NFC');
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
    );
  });

  it('with lone surrogates have these replaced', () => {
    const tokenizer = tokenizerOf(byteLevel);
    expect(tokenizer.decode(tokenizer.encode('a\udbff0\udbffb\ud800'))).toBe('a\ufffd0\ufffdb\ufffd');
  });

  it('begin with the begin token on request', () => {
    const tokenizer = tokenizerOf(byteLevel);
    const without = [...tokenizer.encode('fox', { begin: false })];
    expect([...tokenizer.encode('fox', { begin: true })]).toEqual([tokenizer.beginToken, ...without]);
    expect([...tokenizer.encode('fox')]).toEqual([tokenizer.beginToken, ...without]);
    const nameless = tokenizerOf(byteLevel, { bos_token: undefined });
    expect(() => nameless.encode('fox', { begin: true })).toThrow(/has no token that begins a text/);
  });

  it('omit tokens that the tokenizer does not know', () => {
    const tokenizer = tokenizerOf(byteLevel);
    const fox = [...tokenizer.encode('fox', { begin: false })];
    expect(tokenizer.decode([...fox, tokenizer.vocabularySize + 5])).toBe('fox');
    expect(tokenizer.decode([])).toBe('');
  });
});

describe('a chat template', () => {
  it('may be missing', () => {
    const tokenizer = tokenizerOf(byteLevel, { chat_template: undefined });
    expect(tokenizer.hasChatTemplate).toBe(false);
    expect(() => tokenizer.encodeChat(chats[0])).toThrow(/has no chat template\. Put a chat_template\.jinja/);
  });

  it('may reject the messages', () => {
    const chat_template = "{{ raise_exception('System role not supported') }}";
    const tokenizer = tokenizerOf(byteLevel, { chat_template });
    expect(() => tokenizer.encodeChat(chats[2])).toThrow(
      /does not accept these messages \(system, user\): System role not supported/,
    );
  });

  it('may be broken', () => {
    const tokenizer = tokenizerOf(byteLevel, { chat_template: '{% for %}' });
    expect(() => tokenizer.encodeChat(chats[0])).toThrow(/the chat template does not accept/);
  });
});

describe('tokenizer files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-tokenizer-'));
    await writeFile(join(folder, 'tokenizer.json'), byteLevel.tokenizer);
    await writeFile(join(folder, 'tokenizer_config.json'), byteLevel.config);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('are found in a folder, or by their own name', async () => {
    for (const path of [folder, join(folder, 'tokenizer.json')]) {
      const tokenizer = await loadTokenizer(path);
      expect(tokenizer.vocabularyHash).toBe(byteLevel.vocabularyHash);
      expect([...tokenizer.encodeChat(chats[0])]).toEqual(byteLevel.chats[0]);
    }
  });

  it('prefer chat_template.jinja', async () => {
    await writeFile(join(folder, 'chat_template.jinja'), 'fox');
    const tokenizer = await loadTokenizer(folder);
    expect(tokenizer.decode(tokenizer.encodeChat(chats[0]))).toBe('fox');
    await rm(join(folder, 'chat_template.jinja'));
  });

  it('that are missing or broken are named in the error', async () => {
    await expect(loadTokenizer(join(folder, 'nowhere'))).rejects.toThrow(
      /nowhere: there is no such file or folder/,
    );
    const other = await mkdtemp(join(tmpdir(), 'pmpo-tokenizer-'));
    await expect(loadTokenizer(other)).rejects.toThrow(/there is no tokenizer\.json\. Save the tokenizer/);
    await writeFile(join(other, 'tokenizer.json'), '{');
    await expect(loadTokenizer(other)).rejects.toThrow(/tokenizer\.json: is not JSON/);
    await writeFile(join(other, 'tokenizer.json'), '{"model": {"type": "Strange"}}');
    await expect(loadTokenizer(other)).rejects.toThrow(/its tokenizer\.json cannot be used/);
    await rm(other, { recursive: true });
  });

  const archive = zipSync({
    'tokenizer.json': strToU8(byteLevel.tokenizer),
    'tokenizer_config.json': strToU8(byteLevel.config),
    'config.json': strToU8('{}'),
  });
  const sha256 = createHash('sha256').update(archive).digest('hex');

  it('are unpacked from a server’s archive, which is checked', () => {
    const tokenizer = new HuggingFaceTokenizer(unpackTokenizerFiles(archive, 'here:1', sha256));
    expect(tokenizer.vocabularyHash).toBe(byteLevel.vocabularyHash);
    expect(tokenizer.hasChatTemplate).toBe(true);
    expect(() => unpackTokenizerFiles(archive, 'here:1', 'ab')).toThrow(
      /here:1: the tokenizer was damaged on the way/,
    );
    expect(() => unpackTokenizerFiles(new Uint8Array(), 'here:1', '')).toThrow(/an empty tokenizer/);
    expect(() => unpackTokenizerFiles(strToU8('no zip'), 'here:1', '')).toThrow(/not a ZIP archive/);
    expect(() => unpackTokenizerFiles(zipSync({ 'config.json': strToU8('{}') }), 'here:1', '')).toThrow(
      /there is no tokenizer\.json/,
    );
  });
});
