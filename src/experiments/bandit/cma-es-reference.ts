import { PmpoError, StoppedError } from '../../core/errors.js';
import { randomKey } from '../../core/random-keys.js';
import { createPolicy } from '../../learners/bandit/policy.js';
import { type CmaEsResult, type CmaEsSearch, searchWithCmaEs } from '../../python/cma-es.js';
import { cmaEsLines } from './aggregate.js';
import type { SearchConfig } from './schema.js';

/** What CMA-ES ran with, or why it could not search. */
export type CmaEsState = CmaEsResult['versions'] | { readonly missing: string };

interface CmaEsReferenceOptions {
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** CMA-ES as a reference from outside, which searches what the methods search. Where it cannot, it is reported as missing, once. */
export class CmaEsReference {
  readonly #options: CmaEsReferenceOptions;
  #versions: CmaEsResult['versions'] | undefined;
  #missing: string | undefined;
  /** Searches are made one after the other: the first of them makes the Python environment. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: CmaEsReferenceOptions) {
    this.#options = options;
  }

  /** Undefined before the first search. */
  get state(): CmaEsState | undefined {
    return this.#missing === undefined ? this.#versions : { missing: this.#missing };
  }

  /**
   * Searches from the starts of Gaussian policies.
   * @param grid the evaluations at which lines have points; the last is the number that each search may make.
   * @returns undefined if CMA-ES is missing, or the policy is no Gaussian.
   */
  search(
    functions: readonly string[],
    config: SearchConfig,
    seeds: readonly number[],
    grid: readonly number[],
  ): Promise<ReturnType<typeof cmaEsLines> | undefined> {
    const made = this.#last.then(() => this.#search(functions, config, seeds, grid));
    this.#last = made.catch(() => {});
    return made;
  }

  async #search(
    functions: readonly string[],
    { policy, dimensions }: SearchConfig,
    seeds: readonly number[],
    grid: readonly number[],
  ): Promise<ReturnType<typeof cmaEsLines> | undefined> {
    const { say, signal } = this.#options;
    if (this.#missing !== undefined || policy.head !== 'gaussian') return undefined;
    const gaussian = createPolicy(policy, dimensions);
    const searches = functions.flatMap((fn) =>
      seeds.map((seed): CmaEsSearch => {
        const start = Array.from(gaussian.initial(randomKey(seed)).subarray(0, dimensions));
        return { function: fn, start, seed };
      }),
    );
    const evaluations = grid[grid.length - 1]!;
    try {
      const made = await searchWithCmaEs(
        { searches, stddev: policy.initialStddev, evaluations },
        { say, signal },
      );
      this.#versions = made.versions;
      return cmaEsLines(searches, made, grid);
    } catch (error) {
      if (!(error instanceof PmpoError) || error instanceof StoppedError || signal?.aborted) throw error;
      this.#missing = error.message;
      say(`CMA-ES is missing: ${error.message}`);
      return undefined;
    }
  }
}
