import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  truncateSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { mean, standardDeviation } from '../core/statistics.js';
import { AppendFile } from '../system/append-file.js';
import { fileProblem } from '../system/atomic-file.js';
import type { EvaluationRecord, MetricRecord } from './contracts.js';
import { EventFile } from './tensorboard.js';

/** How far the records of a run had come when a checkpoint was saved. */
export interface RecordsPosition {
  readonly metricsBytes: number;
  readonly eventFile: string;
  readonly eventBytes: number;
}

/**
 * A line of `metrics.jsonl`. A number that is NaN or infinite is null there: JSON has no other way, and a reader sees
 * that something diverged.
 */
export type RecordLine =
  | ({ readonly kind: 'metrics' } & MetricRecord)
  | ({
      readonly kind: 'evaluation';
      readonly meanReturn: number;
      readonly stdReturn: number;
    } & EvaluationRecord)
  | { readonly kind: 'notice'; readonly time: string; readonly message: string };

export interface RecordsOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Where to go on: everything recorded after this position is cut off. Absent: a fresh start. */
  readonly resume?: { readonly environmentSteps: number; readonly position: RecordsPosition };
}

/** Shortens a file to `bytes` if it is longer, and by a last line that was not finished. */
function cut(path: string, bytes: number): void {
  try {
    if (statSync(path).size > bytes) truncateSync(path, bytes);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileProblem(path, 'shortening it', cause);
  }
}

/** Drops a last line without its line end, left by a machine that lost power. */
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
    .filter((name) => name.includes('tfevents'))
    .sort();
}

/** What a run records while it goes: `metrics.jsonl` and TensorBoard events, both appended to and flushed at once. */
export class RunRecords {
  readonly #metrics: AppendFile;
  readonly #events: EventFile;
  readonly #eventFile: string;
  readonly #now: () => number;

  /** @throws PmpoError naming the file when one cannot be opened or shortened. */
  constructor(metricsFile: string, eventFolder: string, { now = Date.now, resume }: RecordsOptions = {}) {
    this.#now = now;
    try {
      mkdirSync(eventFolder, { recursive: true });
    } catch (cause) {
      throw fileProblem(eventFolder, 'making it', cause);
    }
    if (resume !== undefined) {
      const { metricsBytes, eventFile, eventBytes } = resume.position;
      cut(metricsFile, metricsBytes);
      for (const name of eventFiles(eventFolder)) if (name > eventFile) unlinkSync(join(eventFolder, name));
      cut(join(eventFolder, eventFile), eventBytes);
    }
    cutUnfinishedLine(metricsFile);
    this.#metrics = new AppendFile(metricsFile);
    // A file of its own for each start: TensorBoard never looks back into a file it has read. Names sort by time.
    const index = String(eventFiles(eventFolder).length).padStart(4, '0');
    this.#eventFile = `events.out.tfevents.${String(Math.floor(now() / 1000)).padStart(10, '0')}.pmpo.${index}`;
    this.#events = new EventFile(join(eventFolder, this.#eventFile), now, resume?.environmentSteps);
  }

  #line(line: RecordLine): void {
    this.#metrics.append(Buffer.from(`${JSON.stringify(line)}\n`));
  }

  metrics({ environmentSteps, updates, wallSeconds, values }: MetricRecord): void {
    this.#line({ kind: 'metrics', environmentSteps, updates, wallSeconds, values });
    this.#events.scalars(environmentSteps, values);
  }

  evaluation({ environmentSteps, updates, wallSeconds, returns }: EvaluationRecord): void {
    const meanReturn = mean(returns);
    const stdReturn = standardDeviation(returns);
    this.#line({
      kind: 'evaluation',
      environmentSteps,
      updates,
      wallSeconds,
      meanReturn,
      stdReturn,
      returns: [...returns],
    });
    this.#events.scalars(environmentSteps, {
      'evaluation/meanReturn': meanReturn,
      'evaluation/stdReturn': stdReturn,
    });
  }

  notice(message: string): void {
    this.#line({ kind: 'notice', time: new Date(this.#now()).toISOString(), message });
  }

  /** Waits until everything is on the disk and says how far it goes, to be saved with a checkpoint. */
  position(): RecordsPosition {
    this.#metrics.sync();
    this.#events.sync();
    return {
      metricsBytes: this.#metrics.bytes,
      eventFile: this.#eventFile,
      eventBytes: this.#events.bytes,
    };
  }

  close(): void {
    this.#metrics.close();
    this.#events.close();
  }
}
