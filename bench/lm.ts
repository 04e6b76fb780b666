import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { TransformerConfig } from '../src/networks/transformer.js';

/** What the benchmarks of the embedded language model share. */

export const threads = 2;

/** The model of both: 4 layers of width 256, 8 heads. */
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

/** Of one piece of work: by the clock, and of all processors together. Milliseconds. */
export interface Times {
  readonly milliseconds: number;
  readonly processor: number;
}

export interface Side {
  readonly name: string;
  time(count: number): Promise<Times>;
  close(): Promise<void>;
}

/** Times work of this very process. */
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

/** The same work by transformers on PyTorch, in a Python process. */
export function transformersSide(work: 'update' | 'sample', settings: object): Side {
  const scripts = fileURLToPath(new URL('../scripts/venv.mjs', import.meta.url));
  const python = execFileSync(process.execPath, [scripts, 'transformers'], { encoding: 'utf8' }).trim();
  const program = fileURLToPath(new URL('./lm_transformers.py', import.meta.url));
  const child = spawn(python, [program, JSON.stringify({ config, threads, ...settings })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    name: 'transformers',
    async time(count) {
      child.stdin.write(`${JSON.stringify({ [work]: count })}\n`);
      const { value, done } = await answers.next();
      if (done === true) throw new Error('the transformers side ended');
      return JSON.parse(value) as Times;
    },
    async close() {
      child.stdin.end();
      await new Promise((resolve) => child.once('exit', resolve));
    },
  };
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

const round = (value: number) => Number(value.toPrecision(4));

/** Every side in turn, `rounds` times, after one time for warming up. Medians, and the best of each. */
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
    /** How many times as long `a` takes as `b`: by the medians, by the best, and by the processors' time. */
    ratio: (a: string, b: string) => ({
      median: round(median(of(a, 'milliseconds')) / median(of(b, 'milliseconds'))),
      best: round(Math.min(...of(a, 'milliseconds')) / Math.min(...of(b, 'milliseconds'))),
      processor: round(median(of(a, 'processor')) / median(of(b, 'processor'))),
    }),
  };
}
