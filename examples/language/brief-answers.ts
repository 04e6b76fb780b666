/** As many words are as good as one; beyond them an answer is worth less with each. */
const brief = 8;
const fewest = 2;

/**
 * How brief an answer is, from 0 to 1, provided that it reads like one: it ends by itself, with a full stop, is made of words
 * of letters, and says none of them over and over. Anything else is worth nothing.
 */
export function reward({ completion, finishReason }: { completion: string; finishReason: string }): number {
  const text = completion.trim();
  const words = text.toLowerCase().match(/[\p{L}\p{N}'’-]+/gu) ?? [];
  const letters = (text.match(/[\p{L}\s]/gu) ?? []).length;
  const fluent =
    finishReason === 'stop' &&
    /[.!?]$/.test(text) &&
    words.length >= fewest &&
    letters >= 0.85 * text.length &&
    new Set(words).size >= 0.6 * words.length;
  return fluent ? Math.min(1, brief / words.length) : 0;
}
