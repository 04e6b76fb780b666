/** Up to this many words, an answer gets the full reward; beyond, the reward falls with each word. */
const brief = 8;
const minWords = 2;

/**
 * How brief an answer is, from 0 to 1. An answer must end by itself with a sentence mark, consist mostly of letters, and not repeat
 * words too often; anything else gets 0.
 */
export function reward({ completion, finishReason }: { completion: string; finishReason: string }): number {
  const text = completion.trim();
  const words = text.toLowerCase().match(/[\p{L}\p{N}'’-]+/gu) ?? [];
  const letters = (text.match(/[\p{L}\s]/gu) ?? []).length;
  const fluent =
    finishReason === 'stop' &&
    /[.!?]$/.test(text) &&
    words.length >= minWords &&
    letters >= 0.85 * text.length &&
    new Set(words).size >= 0.6 * words.length;
  return fluent ? Math.min(1, brief / words.length) : 0;
}
