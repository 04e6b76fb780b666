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
import { capitalized } from './job-terms.js';
import type { EvaluationRecord, MetricRecord, RecordLine } from './records.js';
import { EventFile } from './tensorboard.js';

/** The length of a run's records at the time a checkpoint was saved. */
export interface RecordsPosition {
  readonly metricsBytes: number;
  readonly eventFile: string;
  readonly eventBytes: number;
}

export interface RecordWriterOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** The moment to resume from: everything recorded after this position is cut off. Absent: a fresh start. */
  readonly resume?: { readonly steps: number; readonly position: RecordsPosition };
}

/** Shortens a file to `bytes` if it is longer. */
function cut(path: string, bytes: number): void {
  try {
    if (statSync(path).size > bytes) truncateSync(path, bytes);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileProblem(path, 'shortening it', cause);
  }
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
    .filter((name) => name.includes('tfevents'))
    .sort();
}

/** Writes the records of a run to `metrics.jsonl` and to TensorBoard, each one as soon as it is made. */
export class RecordWriter {
  readonly #metricsFile: AppendFile;
  readonly #events: EventFile;
  readonly #eventFileName: string;
  readonly #now: () => number;

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
    if (resume !== undefined) {
      const { metricsBytes, eventFile, eventBytes } = resume.position;
      cut(metricsFile, metricsBytes);
      for (const name of eventFiles(eventFolder)) if (name > eventFile) unlinkSync(join(eventFolder, name));
      cut(join(eventFolder, eventFile), eventBytes);
    }
    cutUnfinishedLine(metricsFile);
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
