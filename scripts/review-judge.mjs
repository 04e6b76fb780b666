// `node scripts/review-judge.mjs`: trains the reward model of examples/language/review-judge.ts and writes its weights beside it.
//
// It learns from comparisons of two reviews of the same prompt. The reviews are those of the grammar from which the embedded model
// learns, some chosen for kindness, some spoiled: a sentence is said again, is about another place, has its words in disorder, has too
// few or too many words, or breaks off. A simulated reader says which of the two is better. To this reader a review is worth its kind words less its unkind ones, each
// sentence counted once however often it is said, less one for each sentence that is no sentence about the place. The reader prefers
// the first with probability σ(worth of the first − worth of the second), so the answers are noisy.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { createJiti } from 'jiti';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Where the weights are. */
export const weightsFile = join(root, 'examples/language/review-judge.json');

const comparisons = 16_000;
const heldOut = 2000;
const epochs = 4;
const learningRate = 0.05;
/** Features that fewer comparisons have are left out. */
const leastComparisons = 30;
/** The reviews of the grammar in which usual pairs of words are found. */
const usualReviews = 6000;

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** The sentences of a text, with their full stops. */
const sentencesOf = (text) => (text.match(/[^.!]+[.!]?/g) ?? []).map((one) => one.trim()).filter(Boolean);

/** What the simulated reader thinks that a review is worth. */
export function worth(prompt, completion, countReview) {
  return [...new Set(sentencesOf(completion))]
    .map((sentence) => countReview({ prompt, completion: sentence }))
    .reduce((sum, { wellFormed, kind, unkind }) => sum + (wellFormed === 1 ? kind - unkind : -1), 0);
}

/** The items in random order (Fisher–Yates). `draw` returns the next random number in [0, 1). */
export function shuffled(items, draw) {
  const all = [...items];
  for (let last = all.length - 1; last > 0; last--) {
    const other = Math.floor(draw() * (last + 1));
    [all[last], all[other]] = [all[other], all[last]];
  }
  return all;
}

/** A function that returns the next of the numbers. @throws when they are used up. */
export function drawFrom(numbers) {
  let used = 0;
  return () => {
    if (used === numbers.length) throw new Error(`all ${numbers.length} random numbers are used up`);
    return numbers[used++];
  };
}

/** A review, spoiled or not. `draw` returns the next random number in (0, 1). */
function makeText(draw, prompt, prompts, review) {
  const candidates = Array.from({ length: draw() < 0.5 ? 1 : 4 }, () => review(prompt));
  const { completion } = candidates.reduce((best, one) => (one.worth > best.worth ? one : best));
  let sentences = sentencesOf(completion);
  const any = (items) => items[Math.floor(draw() * items.length)];
  if (draw() < 0.3)
    sentences = draw() < 0.5 ? [...sentences, any(sentences)] : sentences.map(() => sentences[0]);
  if (draw() < 0.2) sentences.push(any(sentencesOf(review(any(prompts)).completion)));
  if (draw() < 0.3) {
    const at = Math.floor(draw() * sentences.length);
    const words = sentences.flatMap((one) => one.split(' '));
    const garbled = sentences[at].split(' ').flatMap((word) => {
      const chance = draw();
      return chance < 0.15 ? [] : chance < 0.3 ? [word, word] : chance < 0.45 ? [word, any(words)] : [word];
    });
    sentences[at] = draw() < 0.3 ? shuffled(garbled, draw).join(' ') : garbled.join(' ');
  }
  let text = sentences.join(' ');
  if (draw() < 0.15) text = text.slice(0, -Math.ceil(draw() * 12));
  return ` ${text}`;
}

/** The contents of the file of weights, the same at every call. */
export async function reviewJudge() {
  /** @returns {Promise<any>} */
  const load = (path) => createJiti(import.meta.url).import(join(root, path));
  const { fillUniform, foldIn, randomKey } = await load('src/core/random-keys.ts');
  const { makeReview, reviewPrompts } = await load('src/language/embedded/reviews.ts');
  const { countReview } = await load('examples/language/kind-reviews.ts');
  const { featuresOf } = await load('examples/language/review-judge.ts');
  const key = randomKey(71);
  const { training: prompts } = reviewPrompts(foldIn(key, 'prompts'));

  const pairs = Array.from({ length: comparisons }, (_, i) => {
    const own = foldIn(key, i);
    const draw = drawFrom(fillUniform(own, new Float32Array(512)));
    let written = 0;
    const review = (prompt) => {
      const { completion } = makeReview(foldIn(own, written++), prompt);
      return { completion, worth: worth(prompt, completion, countReview) };
    };
    const prompt = prompts[Math.floor(draw() * prompts.length)];
    const [first, second] = [0, 1].map(() => makeText(draw, prompt, prompts, review));
    const margin = worth(prompt, first, countReview) - worth(prompt, second, countReview);
    /** @type {[string, number][]} */
    const features = [];
    /** @type {[number, number][]} The features that have a weight, by their places. */
    const known = [];
    return { prompt, first, second, margin, isFirstBetter: draw() < sigmoid(margin), features, known };
  });

  // Pairs of words are usual if more than one review of the grammar has them.
  const found = new Map();
  for (let i = 0; i < usualReviews; i++) {
    const review = makeReview(foldIn(foldIn(key, 'usual'), i), prompts[i % prompts.length]);
    for (const name of featuresOf(review, { has: () => true }).keys())
      if (/^[^:]+ [^:]+$/.test(name)) found.set(name, (found.get(name) ?? 0) + 1);
  }
  const usualPairs = new Set([...found].filter(([, count]) => count > 1).map(([name]) => name));
  for (const pair of pairs) {
    const difference = featuresOf({ prompt: pair.prompt, completion: pair.first }, usualPairs);
    for (const [name, value] of featuresOf({ prompt: pair.prompt, completion: pair.second }, usualPairs))
      difference.set(name, (difference.get(name) ?? 0) - value);
    pair.features = [...difference].filter(([, value]) => value !== 0);
  }

  const [test, training] = [pairs.slice(0, heldOut), pairs.slice(heldOut)];
  const counts = new Map();
  for (const { features } of training)
    for (const [name] of features) counts.set(name, (counts.get(name) ?? 0) + 1);
  const names = [...counts].filter(([, count]) => count >= leastComparisons).map(([name]) => name);
  const places = new Map(names.map((name, i) => [name, i]));
  for (const pair of pairs)
    for (const [name, value] of pair.features) {
      const place = places.get(name);
      if (place !== undefined) pair.known.push([place, value]);
    }
  const weights = new Float64Array(names.length);
  const squares = new Float64Array(names.length);
  const score = ({ known }) => known.reduce((sum, [place, value]) => sum + weights[place] * value, 0);
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const pair of training) {
      const error = sigmoid(score(pair)) - (pair.isFirstBetter ? 1 : 0);
      for (const [place, value] of pair.known) {
        // Adagrad.
        const gradient = error * value;
        squares[place] += gradient ** 2;
        weights[place] -= (learningRate * gradient) / Math.sqrt(squares[place] + 1e-8);
      }
    }
  }
  const kept = names
    .map((name, i) => [name, Number(weights[i].toFixed(2))])
    .filter(([, value]) => value !== 0);
  const share = (is) => Number((test.filter(is).length / test.length).toFixed(3));
  return {
    madeBy: 'node scripts/review-judge.mjs',
    comparisons: comparisons - heldOut,
    agreement: {
      judgeWithReader: share((pair) => score(pair) > 0 === pair.isFirstBetter),
      readerWithOwnWorth: share(({ margin, isFirstBetter }) => margin > 0 === isFirstBetter),
    },
    pairs: [...usualPairs].toSorted(),
    weights: Object.fromEntries(kept.toSorted(([a], [b]) => (a < b ? -1 : 1))),
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(weightsFile, `${JSON.stringify(await reviewJudge(), null, 2)}\n`);
