import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { mean, standardDeviation } from '../core/statistics.js';
import { AppendFile } from '../system/append-file.js';
import { fileProblem } from '../system/atomic-file.js';
import { capitalized } from './job-terms.js';
import { type EvaluationRecord, isRecord, type MetricRecord, type RecordLine } from './records.js';
import { EventFile } from './tensorboard.js';

/** The length of a run's records at the time a checkpoint was saved. */
export interface RecordsPosition {
  readonly metricsBytes: number;
  readonly eventFile: string;
  readonly eventBytes: number;
}

/** A name that pmpo gives to a TensorBoard file, in this version or an earlier one. It has no separators of paths. */
const eventFileName = /^[\w-][\w.-]*tfevents[\w.-]*$/;

/**
 * Checks a position that was read from a file: the names in it choose the files that resuming shortens.
 * @throws PmpoError naming the checkpoint `where` and the wrong entry.
 */
export function checkRecordsPosition(where: string, value: unknown): RecordsPosition {
  const { metricsBytes, eventFile, eventBytes } = (value ?? {}) as Partial<RecordsPosition>;
  for (const [name, bytes] of Object.entries({ metricsBytes, eventBytes })) {
    if (!Number.isSafeInteger(bytes) || bytes! < 0) {
      throw new PmpoError({ where, what: `its records.${name} is not a number of bytes` });
    }
  }
  if (typeof eventFile !== 'string' || !eventFileName.test(eventFile)) {
    throw new PmpoError({
      where,
      what: 'its records.eventFile is not the name of a TensorBoard file in the folder of the run',
    });
  }
  return { metricsBytes: metricsBytes!, eventFile, eventBytes: eventBytes! };
}

export interface RecordWriterOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** The moment to resume from: everything recorded after this position is cut off. Absent: a fresh start. */
  readonly resume?: { readonly steps: number; readonly position: RecordsPosition };
}

/** Shortens a file to `bytes` if it is longer. @returns what is missing in words, if it is shorter or not there. */
function cut(path: string, bytes: number): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > bytes) truncateSync(path, bytes);
    return size < bytes ? `it has ${size} bytes and had ${bytes}` : undefined;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileProblem(path, 'shortening it', cause);
    return bytes === 0 ? undefined : 'there is no such file';
  }
}

/** The number of lines of a file that are not JSON, and the first of them. */
function damagedLines(path: string): { readonly count: number; readonly first: number } {
  // A device has no end.
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return { count: 0, first: 0 };
  const damaged = readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .flatMap((line, i) => (isRecord(line) ? [] : [i + 1]));
  return { count: damaged.length, first: damaged[0] ?? 0 };
}

/** Drops a last line without a line end, which a machine that lost power leaves behind. */
function cutUnfinishedLine(path: string): void {
  try {
    const descriptor = openSync(path, 'r+');
    try {
      const { size } = fstatSync(descriptor);
      const tail = Buffer.alloc(Math.min(size, 2 ** 20));
      readSync(descriptor, tail, 0, tail.length, size - tail.length);
      const unfinished = tail.length - 1 - tail.lastIndexOf(0x0a);
      if (unfinished > 0) ftruncateSync(descriptor, size - unfinished);
    } finally {
      closeSync(descriptor);
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileProblem(path, 'shortening it', cause);
  }
}

function eventFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => eventFileName.test(name))
    .sort();
}

/** Writes the records of a run to `metrics.jsonl` and to TensorBoard, each one as soon as it is made. */
export class RecordWriter {
  readonly #metricsFile: AppendFile;
  readonly #events: EventFile;
  readonly #eventFileName: string;
  readonly #now: () => number;
  /** What is missing or damaged in the records from before the checkpoint, a sentence each. */
  readonly losses: readonly string[];

  /** @throws PmpoError naming a file that cannot be opened or shortened. */
  constructor(
    metricsFile: string,
    eventFolder: string,
    { now = Date.now, resume }: RecordWriterOptions = {},
  ) {
    this.#now = now;
    try {
      mkdirSync(eventFolder, { recursive: true });
    } catch (cause) {
      throw fileProblem(eventFolder, 'making it', cause);
    }
    const losses: string[] = [];
    if (resume !== undefined) {
      const { metricsBytes, eventFile, eventBytes } = resume.position;
      for (const name of eventFiles(eventFolder)) if (name > eventFile) unlinkSync(join(eventFolder, name));
      for (const [file, bytes] of [
        [metricsFile, metricsBytes],
        [join(eventFolder, eventFile), eventBytes],
      ] as const) {
        const missing = cut(file, bytes);
        if (missing === undefined) continue;
        losses.push(`Records from before the checkpoint at ${resume.steps} are missing: ${file}: ${missing}`);
      }
    }
    cutUnfinishedLine(metricsFile);
    const { count, first } = damagedLines(metricsFile);
    if (count > 0) {
      const lines =
        count === 1 ? `line ${first} is` : `${count} lines are not JSON, the first of them line ${first}`;
      losses.push(
        `Records are damaged and left out of the report: ${metricsFile}: ${lines}${count === 1 ? ' not JSON' : ''}`,
      );
    }
    this.losses = losses;
    this.#metricsFile = new AppendFile(metricsFile);
    // Each start gets another file, because TensorBoard never looks back into one it has read. Names sort by time.
    const index = String(eventFiles(eventFolder).length).padStart(4, '0');
    this.#eventFileName = `events.out.tfevents.${String(Math.floor(now() / 1000)).padStart(10, '0')}.pmpo.${index}`;
    this.#events = new EventFile(join(eventFolder, this.#eventFileName), now, resume?.steps);
  }

  #line(line: RecordLine): void {
    this.#metricsFile.append(Buffer.from(`${JSON.stringify(line)}\n`));
  }

  metrics({ steps, stepUnit, updates, wallSeconds, values }: MetricRecord): void {
    this.#line({ kind: 'metrics', steps, stepUnit, updates, wallSeconds, values });
    this.#events.scalars(steps, values);
  }

  evaluation({ steps, stepUnit, updates, wallSeconds, scoreName, scores }: EvaluationRecord): void {
    const meanScore = mean(scores);
    const stdScore = standardDeviation(scores);
    this.#line({
      kind: 'evaluation',
      steps,
      stepUnit,
      updates,
      wallSeconds,
      scoreName,
      meanScore,
      stdScore,
      scores: [...scores],
    });
    const name = capitalized(scoreName);
    this.#events.scalars(steps, {
      [`evaluation/mean${name}`]: meanScore,
      [`evaluation/std${name}`]: stdScore,
    });
  }

  notice(message: string): void {
    this.#line({ kind: 'notice', time: new Date(this.#now()).toISOString(), message });
  }

  /** Waits until everything is on disk. @returns its length, to be saved with a checkpoint. */
  position(): RecordsPosition {
    this.#metricsFile.sync();
    this.#events.sync();
    return {
      metricsBytes: this.#metricsFile.bytes,
      eventFile: this.#eventFileName,
      eventBytes: this.#events.bytes,
    };
  }

  close(): void {
    this.#metricsFile.close();
    this.#events.close();
  }
}
