import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { PmpoError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import type { HostClassifier, HostFeedback, HostFeedbackInput } from '../feedback/classifier.js';
import { defineFeedback } from '../feedback/define.js';
import { keepLastLines, signalGroup, spawnGroup } from '../system/processes.js';
import { givenSides, givesSchema, sidesOf } from './sides.js';

const programSettings = z.strictObject({
  command: z
    .array(z.string())
    .min(1)
    .describe(
      'The program and its arguments. It reads a line of JSON for each batch and answers with one: {"batch": …, "accept": [[…]], "reject": [[…]]}',
    ),
  gives: givesSchema,
  folder: z
    .string()
    .default('.')
    .describe("The program's working directory, relative to the configuration file"),
  deadlineSeconds: z.number().positive().default(300).describe('Maximum duration of one batch'),
});
type ProgramSettings = z.output<typeof programSettings>;

/** The time that the program has to end by itself once its input has ended, in seconds. */
const graceSeconds = 2;

/** The longest line that the program may answer with, in characters. */
const longestLine = 2 ** 28;

interface Waiting {
  resolve(line: string): void;
  reject(error: Error): void;
}

/** The user's program while it runs. */
class RunningProgram {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #stderr: readonly string[];
  readonly #ended: Promise<void>;
  /** Resolves when the program runs. @throws PmpoError if it cannot be started. */
  readonly started: Promise<void>;
  #waiting: Waiting | undefined;
  #failure: PmpoError | undefined;

  constructor({ command, folder }: ProgramSettings) {
    const [program = '', ...args] = command;
    this.#name = program;
    const child = spawnGroup(program, args, { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#stderr = keepLastLines(child.stderr!);
    createInterface({ input: child.stdout! }).on('line', (line) => this.#answered(line));
    // The reason is told by 'close'.
    child.stdin!.on('error', () => {});
    // Processes that it has started would keep its streams open.
    child.on('exit', () => {
      this.kill();
      setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
      }, 100);
    });
    this.#ended = new Promise((resolve) => {
      child.on('error', (cause: NodeJS.ErrnoException) => {
        const what =
          cause.code === 'ENOENT'
            ? `the program '${program}' was not found, or there is no folder ${folder}`
            : `it cannot be started: ${cause.message}`;
        this.#fail(new PmpoError({ where: program, what, cause }));
        resolve();
      });
      child.on('close', (code, killedBy) => {
        const last = this.#stderr.at(-1);
        const how = code === null ? `was ended by ${killedBy}` : `ended with code ${code}`;
        this.#fail(
          new PmpoError({
            where: program,
            what: `it ${how} before it answered${last === undefined ? '' : `: ${foreignText(last)}`}`,
          }),
        );
        resolve();
      });
    });
    this.started = new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', () => reject(this.#failure));
    });
    this.started.catch(() => {});
  }

  /** The program's answer to one line. */
  ask(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#waiting = { resolve, reject };
      this.#child.stdin!.write(`${line}\n`);
    });
  }

  #answered(line: string): void {
    if (this.#waiting === undefined) {
      this.#fail(
        new PmpoError({
          where: this.#name,
          what: `it wrote a line that nothing was asked for: ${foreignText(line.slice(0, 200))}`,
          remedy: 'Write messages to standard error, and answers to standard output, one line each',
        }),
      );
      return;
    }
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve(line);
  }

  #fail(error: PmpoError): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }

  kill(): void {
    signalGroup(this.#child, 'SIGKILL');
  }

  /** Ends its input, and the program itself if it does not end then. */
  async end(): Promise<void> {
    this.#child.stdin!.end();
    const timer = setTimeout(() => this.kill(), graceSeconds * 1000);
    await this.#ended;
    clearTimeout(timer);
    // Processes that it left behind.
    this.kill();
  }
}

/** A user's program, started once for a run. */
class ProgramClassifier implements HostClassifier {
  readonly provides;
  readonly deadlineSeconds: number;
  readonly #settings: ProgramSettings;
  #program: RunningProgram | undefined;
  #batches = 0;

  constructor(settings: ProgramSettings) {
    this.#settings = settings;
    this.provides = sidesOf(settings.gives);
    this.deadlineSeconds = settings.deadlineSeconds;
  }

  /** Starts the program, so that one that is not there is found before the run begins. */
  async open(): Promise<void> {
    this.#program ??= new RunningProgram(this.#settings);
    await this.#program.started;
  }

  async classifyOnHost(input: HostFeedbackInput, signal: AbortSignal): Promise<HostFeedback> {
    await this.open();
    const program = this.#program!;
    const batch = this.#batches++;
    const stop = () => program.kill();
    signal.addEventListener('abort', stop, { once: true });
    try {
      return givenSides(
        this.provides,
        weightsOf(await program.ask(questionOf(batch, input)), batch, input, this.#settings.command[0]!),
      );
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async close(): Promise<void> {
    await this.#program?.end();
  }
}

/** Values of the shape as nested lists. */
function nested(values: Float32Array, shape: readonly number[]): unknown {
  const [length = 1, ...rest] = shape;
  if (rest.length === 0) return Array.from(values.subarray(0, length));
  const width = rest.reduce((product, size) => product * size, 1);
  return Array.from({ length }, (_, i) => nested(values.subarray(i * width, (i + 1) * width), rest));
}

/** A batch as a line of JSON, with its number. */
function questionOf(batch: number, input: HostFeedbackInput): string {
  const { samplesPerContext: n, contexts: b, sampleTexts, contextTexts } = input;
  return JSON.stringify({
    batch,
    samplesPerContext: n,
    contexts: b,
    evaluation: nested(input.evaluation, [n, b]),
    mask: nested(input.mask, [n, b]),
    baseline: nested(input.baseline, [b]),
    samples: nested(input.sampleValues, input.sampleShape),
    observations: nested(input.contextValues, input.contextShape),
    ...(contextTexts === undefined ? {} : { contextTexts }),
    ...(sampleTexts === undefined
      ? {}
      : { sampleTexts: Array.from({ length: n }, (_, i) => sampleTexts.slice(i * b, (i + 1) * b)) }),
  });
}

const answerForm =
  'It must be {"batch": …, "accept": [[…]], "reject": [[…]]}: the number of the batch, and N lists of B numbers from 0 to 1 for each side';

/** The weights in the program's line. */
function weightsOf(
  line: string,
  batch: number,
  { samplesPerContext: n, contexts: b }: HostFeedbackInput,
  where: string,
): HostFeedback {
  const refuse = (what: string): never => {
    throw new PmpoError({ where, what, remedy: answerForm });
  };
  if (line.length > longestLine) refuse(`it answered with a line of ${line.length} characters`);
  let answer: unknown;
  try {
    answer = JSON.parse(line);
  } catch {
    refuse(`its answer is not JSON: ${foreignText(line.slice(0, 200))}`);
  }
  const { batch: answered } = (answer ?? {}) as { readonly batch?: unknown };
  // A line too many would otherwise pass for the answer to the next batch, and so on to the end of the run.
  if (answered !== batch)
    refuse(`it answered batch ${JSON.stringify(answered)} when it was asked about batch ${batch}`);
  const side = (key: 'accept' | 'reject'): Float32Array => {
    const rows: unknown = (answer as Readonly<Record<string, unknown>> | null)?.[key];
    if (!Array.isArray(rows) || rows.length !== n) return refuse(`'${key}' is not a list of N = ${n} lists`);
    return Float32Array.from(
      rows.flatMap((row: unknown) =>
        Array.isArray(row) &&
        row.length === b &&
        row.every((one) => ['number', 'boolean'].includes(typeof one))
          ? row.map(Number)
          : refuse(`'${key}' has a row that is not a list of B = ${b} numbers`),
      ),
    );
  };
  return { accept: side('accept'), reject: side('reject') };
}

/** The classifier `program`: a program in any language, a line of JSON in and a line out. */
export const programFeedbackDefinition = defineFeedback({
  name: 'program',
  description: 'A program of your own that reads a line of JSON for each batch and answers with one',
  settings: programSettings,
  fileSettings: ['folder'],
  create: (settings) => new ProgramClassifier(settings),
});
