/** The words and sentences that reviews are made of. The embedded model first learns to write such reviews, kind and unkind ones. */
const nounsByPlace: readonly (readonly [places: string, nouns: string])[] = [
  ['restaurant bistro diner café', 'soup bread fish waiter menu coffee cake table'],
  ['film comedy western thriller', 'plot music hero ending cast dialogue camera villain'],
  ['hotel inn hostel lodge', 'room bed view shower porter garden lobby breakfast'],
  ['novel biography poem cookbook', 'style opening cover chapter author rhyme preface print'],
];
const kindAdjectives = 'lovely great perfect charming warm superb clever fresh bright fine';
const unkindAdjectives = 'awful dull terrible boring cold poor clumsy stale gloomy weak';
const kindVerbs = 'loved enjoyed liked';
const unkindVerbs = 'hated disliked regretted';

const words = (list: string) => list.split(' ');
const kindWords = new Set([...words(kindAdjectives), ...words(kindVerbs)]);
const unkindWords = new Set([...words(unkindAdjectives), ...words(unkindVerbs)]);

/** A pattern of one whole sentence about the place that the prompt names; undefined if the prompt does not ask for a review. */
function sentencePattern(prompt: string): RegExp | undefined {
  const place = /^Review of the \S+ (\S+):$/.exec(prompt)?.[1] ?? '';
  const nouns = nounsByPlace.find(([places]) => words(places).includes(place))?.[1];
  if (nouns === undefined) return undefined;
  const oneOf = (...lists: string[]) => `(?:${lists.flatMap(words).join('|')})`;
  const noun = oneOf(nouns);
  const adjective = oneOf(kindAdjectives, unkindAdjectives);
  const quality = `(?:${oneOf('very really quite rather simply')} )?${adjective}`;
  const sentences = [
    `The ${noun} was ${quality}\\.`,
    `The ${noun} was ${adjective} and the ${noun} was ${adjective}\\.`,
    `I found the ${noun} ${quality}\\.`,
    `We ${oneOf(kindVerbs, unkindVerbs)} the ${noun}\\.`,
    `What a ${adjective} ${place}!`,
  ];
  return new RegExp(`^(?:${sentences.join('|')})$`);
}

/**
 * Counts the sentences of a review, those that are well formed and about the place that the prompt names, and the kind and unkind
 * words. Text after the last full stop counts as a sentence that is not well formed.
 */
export function countReview({ prompt, completion }: { prompt: string; completion: string }) {
  const pattern = sentencePattern(prompt);
  const parts = completion.match(/[^.!]+[.!]?/g) ?? [];
  const sentences = parts.map((text) => text.trim()).filter((text) => text !== '');
  const found = completion.match(/\p{L}+/gu) ?? [];
  return {
    sentences: sentences.length,
    wellFormed: sentences.filter((text) => pattern?.test(text) === true).length,
    kind: found.filter((word) => kindWords.has(word)).length,
    unkind: found.filter((word) => unkindWords.has(word)).length,
  };
}

/**
 * How kind a review is, from 0 to 1: the share of kind words among the kind and unkind ones, times the share of sentences that are
 * well formed and about the place that the prompt names. A reward of 1 takes at least two sentences and no unkind word.
 */
export function reward(review: { prompt: string; completion: string }): number {
  const { sentences, wellFormed, kind, unkind } = countReview(review);
  if (sentences < 2 || kind === 0) return 0;
  return (kind / (kind + unkind)) * (wellFormed / sentences);
}
