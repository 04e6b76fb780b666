import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { median } from '../../src/core/statistics.js';
import type { TransformerConfig } from '../../src/networks/transformer.js';
import { round } from './figures.js';
import { pythonOf, root } from './peers.js';

/** Shared by the benchmarks of the embedded language model: the model, the transformers side, and the comparison. */

export const threads = 2;

/** The shape of the model on every side. */
export const config: TransformerConfig = {
  vocabularySize: 512,
  contextLength: 256,
  layers: 4,
  width: 256,
  heads: 8,
  keyValueHeads: 8,
  hidden: 688,
  ropeTheta: 10_000,
  normEpsilon: 1e-5,
};

/** Time of one unit of work, in milliseconds. */
export interface Times {
  /** Wall time. */
  readonly milliseconds: number;
  /** Processor time, summed over all processors. */
  readonly processor: number;
}

/** One of the compared implementations. */
export interface Side {
  readonly name: string;
  /** Times one unit of work, averaged over `count` in a row. */
  time(count: number): Promise<Times>;
  close(): Promise<void>;
}

/** Times work in this process, averaged over `count` repetitions. */
export async function timed(count: number, work: () => Promise<void>): Promise<Times> {
  const processor = process.cpuUsage();
  const started = performance.now();
  for (let i = 0; i < count; i++) await work();
  const { user, system } = process.cpuUsage(processor);
  return {
    milliseconds: (performance.now() - started) / count,
    processor: (user + system) / 1000 / count,
  };
}

/** The same work with transformers on PyTorch, in a Python process. */
export async function transformersSide(work: 'update' | 'sample', settings: object): Promise<Side> {
  const python = await pythonOf('transformers');
  const program = join(root, 'bench/lm_transformers.py');
  const child = spawn(python, [program, JSON.stringify({ config, threads, ...settings })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name: 'transformers',
    async time(count) {
      child.stdin.write(`${JSON.stringify({ [work]: count })}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error('the Python process of transformers ended');
      return JSON.parse(value) as Times;
    },
    async close() {
      child.stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

/** Times every side in turn, `rounds` times, after one unit of warm-up each; gives the median and best of each side. */
export async function compare(sides: readonly Side[], rounds: number, count: (name: string) => number) {
  const times = new Map<string, Times[]>(sides.map(({ name }) => [name, []]));
  for (const side of sides) await side.time(1);
  for (let i = 0; i < rounds; i++) {
    for (const side of sides) times.get(side.name)!.push(await side.time(count(side.name)));
  }
  for (const side of sides) await side.close();
  const of = (name: string, key: keyof Times) => times.get(name)!.map((entry) => entry[key]);
  return {
    sides: Object.fromEntries(
      sides.map(({ name }) => [
        name,
        {
          median: round(median(of(name, 'milliseconds'))),
          best: round(Math.min(...of(name, 'milliseconds'))),
          processorMedian: round(median(of(name, 'processor'))),
        },
      ]),
    ),
    /** The time of `a` divided by that of `b`: of the medians, of the best, and of the median processor times. */
    ratio: (a: string, b: string) => ({
      median: round(median(of(a, 'milliseconds')) / median(of(b, 'milliseconds'))),
      best: round(Math.min(...of(a, 'milliseconds')) / Math.min(...of(b, 'milliseconds'))),
      processor: round(median(of(a, 'processor')) / median(of(b, 'processor'))),
    }),
  };
}
