import { formatCount } from './format.js';

/**
 * Text that a person did not write: what servers, files and other programs send, as it may appear on a terminal or in a
 * message. There it must not move the cursor, look like several lines, or take a page.
 */

/** Controls, marks without width (such as those that reverse the direction of text), line separators and halves of characters. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = code.toString(16);
  return shortEscapes[character] ?? (code < 256 ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`);
}

/** The text with whatever a terminal would not show as it is written as `\n`, `\x1b`, `\u{202e}`. */
export function visibleText(text: string): string {
  return text.replace(unprintable, escapeOf);
}

/** The visible text on one line, cut to about `longest` characters, with the length of the whole. */
export function foreignText(text: string, longest = 300): string {
  const isCut = text.length > longest;
  const kept = isCut ? text.slice(0, longest).replace(/[\ud800-\udbff]$/, '') : text;
  const shown = visibleText(kept);
  return isCut ? `${shown}… (${formatCount(text.length)} characters)` : shown;
}

/** A name that a server or a file gave, in quotes. */
export function quotedName(name: string): string {
  return `'${foreignText(name, 80)}'`;
}

/** Names as a list, of which only the first 30 are shown; `none` if there are none. */
export function nameList(names: readonly string[]): string {
  const shown = names.slice(0, 30).map((name) => foreignText(name, 80));
  if (names.length > shown.length) shown.push(`… (${formatCount(names.length)} in all)`);
  return shown.join(', ') || 'none';
}
