import { fillUniform, foldIn, type RandomKey } from '../../core/random-keys.js';

/**
 * A small language to learn: reviews of restaurants, films, hotels and books in two or three short sentences, kind or unkind,
 * made by a grammar.
 */

/** Places by kind, with what a review of one speaks of. */
const topics: Readonly<
  Record<string, { readonly places: readonly string[]; readonly nouns: readonly string[] }>
> = {
  food: {
    places: ['restaurant', 'bistro', 'diner', 'café'],
    nouns: ['soup', 'bread', 'fish', 'waiter', 'menu', 'coffee', 'cake', 'table'],
  },
  film: {
    places: ['film', 'comedy', 'western', 'thriller'],
    nouns: ['plot', 'music', 'hero', 'ending', 'cast', 'dialogue', 'camera', 'villain'],
  },
  stay: {
    places: ['hotel', 'inn', 'hostel', 'lodge'],
    nouns: ['room', 'bed', 'view', 'shower', 'porter', 'garden', 'lobby', 'breakfast'],
  },
  book: {
    places: ['novel', 'biography', 'poem', 'cookbook'],
    nouns: ['style', 'opening', 'cover', 'chapter', 'author', 'rhyme', 'preface', 'print'],
  },
};
const modifiers = ['new', 'old', 'small', 'famous', 'local', 'French', 'quiet', 'cheap', 'modern', 'odd'];
const adverbs = ['very', 'really', 'quite', 'rather', 'simply'];
const adjectives = {
  positive: ['lovely', 'great', 'perfect', 'charming', 'warm', 'superb', 'clever', 'fresh', 'bright', 'fine'],
  negative: ['awful', 'dull', 'terrible', 'boring', 'cold', 'poor', 'clumsy', 'stale', 'gloomy', 'weak'],
};
const verbs = { positive: ['loved', 'enjoyed', 'liked'], negative: ['hated', 'disliked', 'regretted'] };

/** Of the sentiments drawn: a model of these texts is somewhat unkind. */
const positiveShare = 0.4;

/** A text to be continued, and what continues it; the completion begins with a space. */
export interface Review {
  readonly prompt: string;
  readonly completion: string;
}

export interface ReviewPrompts {
  readonly training: readonly string[];
  readonly heldOut: readonly string[];
}

/** A source of choices. */
type Draw = () => number;

function drawer(key: RandomKey): Draw {
  const numbers = fillUniform(key, new Float32Array(256));
  let used = 0;
  return () => numbers[used++]!;
}

function pick<T>(draw: Draw, items: readonly T[]): T {
  return items[Math.floor(draw() * items.length)]!;
}

const promptOf = (modifier: string, place: string) => `Review of the ${modifier} ${place}:`;
const topicNames = Object.keys(topics);

/** All prompts there are, one in five of them held out, chosen by the key. */
export function reviewPrompts(key: RandomKey): ReviewPrompts {
  const all = topicNames.flatMap((topic) =>
    topics[topic]!.places.flatMap((place) => modifiers.map((modifier) => promptOf(modifier, place))),
  );
  const order = fillUniform(foldIn(key, 'held out'), new Float32Array(all.length));
  const shuffled = all.map((_, i) => i).sort((a, b) => order[a]! - order[b]! || a - b);
  const heldOut = new Set(shuffled.slice(0, all.length / 5));
  return {
    training: all.filter((_, i) => !heldOut.has(i)),
    heldOut: all.filter((_, i) => heldOut.has(i)),
  };
}

function sentence(draw: Draw, nouns: readonly string[], place: string): string {
  const side = () => (draw() < positiveShare ? 'positive' : 'negative');
  const noun = () => pick(draw, nouns);
  const adjective = () => pick(draw, adjectives[side()]);
  const quality = () => (draw() < 0.4 ? `${pick(draw, adverbs)} ${adjective()}` : adjective());
  const kind = draw();
  if (kind < 0.35) return `The ${noun()} was ${quality()}.`;
  if (kind < 0.55) return `The ${noun()} was ${adjective()} and the ${noun()} was ${adjective()}.`;
  if (kind < 0.7) return `I found the ${noun()} ${quality()}.`;
  if (kind < 0.85) return `We ${pick(draw, verbs[side()])} the ${noun()}.`;
  return `What a ${adjective()} ${place}!`;
}

function topicOf(prompt: string): { readonly place: string; readonly nouns: readonly string[] } | undefined {
  const place = /^Review of the \S+ (\S+):$/.exec(prompt)?.[1];
  const topic = Object.values(topics).find(({ places }) => place !== undefined && places.includes(place));
  return topic === undefined ? undefined : { place: place!, nouns: topic.nouns };
}

/** A review of what the prompt names: a function of the key. */
export function makeReview(key: RandomKey, prompt: string): Review {
  const draw = drawer(key);
  const { place, nouns } = topicOf(prompt)!;
  const sentences = Array.from({ length: draw() < 0.5 ? 2 : 3 }, () => sentence(draw, nouns, place));
  return { prompt, completion: ` ${sentences.join(' ')}` };
}

/** `count` reviews, each of a prompt drawn from those given. */
export function makeReviews(key: RandomKey, prompts: readonly string[], count: number): Review[] {
  const places = fillUniform(foldIn(key, 'prompts'), new Float32Array(count));
  return Array.from({ length: count }, (_, i) =>
    makeReview(foldIn(key, i), prompts[Math.floor(places[i]! * prompts.length)]!),
  );
}
