import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Where the program's own words are. */
function sources(): string {
  const of = (folder: string, ending: RegExp) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => ending.test(file) && !/\.test\.ts$/.test(file))
      .map((file) => readFileSync(join(root, folder, file), 'utf8'));
  const text = [...of('src', /\.ts$/), ...of('scripts', /\.mjs$/), ...of('plugins', /\.py$/)].join('\n');
  // As it is printed: without the escapes of string literals, and with one spelling of quotes.
  return text.replaceAll(/\\(['"`])/g, '$1');
}

/** The messages in the first column of a page's tables of messages, without the parts that vary. */
function messages(page: string): { readonly message: string; readonly pieces: readonly string[] }[] {
  const tables = readFileSync(join(root, page), 'utf8')
    .split('\n\n')
    .filter((block) => block.startsWith('| Message |'));
  const rows = tables.join('\n').matchAll(/^\| (`[^|]*) \|/gm);
  return [...rows].flatMap(([, cell]) =>
    [...cell!.matchAll(/`((?:\\`|[^`])+)`/g)].map(([, message]) => ({
      message: message!,
      pieces: message!
        .replaceAll('\\`', '`')
        .split('…')
        .map((piece) => piece.trim())
        .filter((piece) => piece.length > 3),
    })),
  );
}

/** Matches a text that holds the pieces one soon after the other. */
const inOrder = (pieces: readonly string[]): RegExp =>
  new RegExp(pieces.map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]{0,120}?'));

describe('the messages that the pages explain are those of the program', () => {
  const program = sources();

  for (const page of ['docs/troubleshooting.md', 'docs/simulators.md']) {
    it(page, () => {
      const found = messages(page);
      expect(found.length).toBeGreaterThan(20);
      const missing = found.flatMap(({ message, pieces }) =>
        pieces.length > 0 && inOrder(pieces).test(program) ? [] : [message],
      );
      expect(missing).toEqual([]);
    });
  }
});
