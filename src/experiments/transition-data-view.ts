import { StoppedError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { mean, median, quantile } from '../core/statistics.js';
import { openTransitions } from '../datasets/transitions/open.js';
import type { TransitionSource } from '../datasets/transitions/source.js';
import {
  areBounded,
  type DataShape,
  type DataShapeOptions,
  dataShape,
} from '../learners/offline/data-shape.js';

/** Describes a data set of transitions for a person, and checks all of it. */

export interface TransitionViewOptions extends DataShapeOptions {
  readonly print: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Numbers for people. */
const short = (value: number) => String(Number(value.toPrecision(4)));

/** Running extremes, sum and count of values. */
class Summary {
  least = Number.POSITIVE_INFINITY;
  greatest = Number.NEGATIVE_INFINITY;
  sum = 0;
  count = 0;

  add(values: ArrayLike<number>): void {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (value < this.least) this.least = value;
      if (value > this.greatest) this.greatest = value;
      this.sum += value;
    }
    this.count += values.length;
  }

  get text(): string {
    return `${short(this.least)} to ${short(this.greatest)}, mean ${short(this.sum / this.count)}`;
  }
}

/** The bounds of actions that have none, for looking at them. */
const widest = 2 ** 24;

function describeShape({ shape }: DataShape, isBounded: boolean, print: (line: string) => void): void {
  const named = (parts: readonly { readonly name: string; readonly shape: readonly number[] }[]) =>
    parts.map(({ name, shape: own }) => `${name} [${own}]`).join(', ');
  print(
    `Observations: ${named(shape.layout?.observations ?? [])}; ${shape.observationSize} numbers as a policy reads them`,
  );
  const units = Array.from(shape.actionMinimum, (low, i) => {
    const values = shape.actionValues[i]!;
    return `${short(low)} to ${short(shape.actionMaximum[i]!)}${values > 0 ? ` (${values} whole numbers)` : ''}`;
  });
  const bounds = isBounded
    ? [...new Set(units)].join(', ')
    : 'the file does not bound them: a run needs dataset.actionBounds, dataset.actionValues, or the environment';
  print(`Actions: ${named(shape.layout?.actions ?? [])}; ${bounds}`);
}

async function describeContents(
  source: TransitionSource,
  data: DataShape,
  { print, signal }: TransitionViewOptions,
): Promise<void> {
  const [rewards, lengths] = [new Summary(), new Summary()];
  // The median needs all of them. A set of single transitions has as many as transitions, and they say nothing.
  const returns: number[] = [];
  const isSingle = source.singleTransitions === true;
  let [terminated, clipped] = [0, 0];
  for (const block of source.blocks.keys()) {
    if (signal?.aborted)
      throw new StoppedError({ where: source.where, what: 'it was stopped before the end' });
    for (const episode of await source.read(block)) {
      const encoded = data.encode(episode);
      rewards.add(encoded.rewards);
      lengths.add([encoded.length]);
      if (!isSingle) returns.push(Array.from(encoded.rewards).reduce((a, b) => a + b, 0));
      terminated += Number(encoded.terminated);
      clipped += encoded.clipped;
    }
  }
  print(
    `Transitions: ${formatCount(lengths.sum)}${isSingle ? ', each by itself' : ` in ${formatCount(lengths.count)} episodes of ${short(lengths.least)} to ${short(lengths.greatest)} steps`}`,
  );
  print(
    `Ends: ${formatCount(terminated)} in a terminal state, ${formatCount(lengths.count - terminated)} cut off${isSingle ? ' or going on' : ''}`,
  );
  print(`Rewards: ${rewards.text}`);
  if (!isSingle) {
    print(
      `Returns of the episodes: mean ${short(mean(returns))}, median ${short(median(returns))}, the best tenth above ${short(quantile(returns, 0.9))}`,
    );
  }
  if (clipped > 0)
    print(`Actions outside of their bounds, which count as the nearest one within: ${formatCount(clipped)}`);
}

/**
 * Prints the format, the spaces and the contents of a data set. All of it is read, so that nothing in it can stop a run later.
 * @throws PmpoError naming file and place of what cannot be learned from.
 */
export async function showTransitions(path: string, options: TransitionViewOptions): Promise<void> {
  const source = await openTransitions(path);
  try {
    options.print(`${source.where}: ${source.format}`);
    const isBounded =
      areBounded(source.actionSpecs) ||
      options.actionBounds !== undefined ||
      options.actionValues !== undefined;
    const data = dataShape(source, isBounded ? options : { ...options, actionBounds: [-widest, widest] });
    for (const note of data.notes) options.print(note);
    describeShape(data, isBounded, options.print);
    await describeContents(source, data, options);
  } finally {
    await source.close();
  }
}
