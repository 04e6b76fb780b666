import { mkdir, readFile, stat } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { fileProblem, writeAtomically } from '../system/atomic-file.js';
import { type FolderLock, lockFolder } from '../system/folder-lock.js';
import { CheckpointStore } from './checkpoints.js';
import { type EpisodeName, type EvaluatedEpisode, readEvaluatedEpisode } from './evaluated-episode.js';
import type { JobKind } from './job-terms.js';
import { type RunStart, readRunStarts } from './provenance.js';
import { RecordWriter, type RecordWriterOptions } from './record-writer.js';
import { type RunSummary, readRecord } from './records.js';

/** The absolute paths of everything that a run writes. */
export interface RunFiles {
  /** The configuration with every default filled in. */
  readonly config: string;
  /** Where and how it was made: a JSON array with an entry for each start. */
  readonly provenance: string;
  /** One JSON object per line: metrics, evaluations, notices. */
  readonly metrics: string;
  readonly summary: string;
  readonly policy: string;
  /** The policy with the best evaluation. */
  readonly bestPolicy: string;
  readonly report: string;
  /** A folder with an episode of the first, the last and the best evaluation of a control run: `first.json`, … */
  readonly episodes: string;
  /** A folder of JSON Lines files, with the completions of each evaluation of a language model. */
  readonly completions: string;
  /** A page with completions from before and after training, side by side. */
  readonly completionsPage: string;
  /** The policy of a language run, a model folder in Hugging Face's format. */
  readonly model: string;
  /** A folder of safetensors files. */
  readonly checkpoints: string;
  /** A folder of TensorBoard event files. */
  readonly tensorboard: string;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw fileProblem(file, 'reading it', cause);
  }
}

/** The folder of a run. Records are appended to their files; all other files are written atomically. */
export class RunDirectory {
  readonly path: string;
  readonly name: string;
  readonly files: RunFiles;
  readonly checkpoints: CheckpointStore;

  /** Use `createRunDirectory` or `openRunDirectory`. */
  constructor(path: string) {
    this.path = resolve(path);
    this.name = basename(this.path);
    this.files = {
      config: join(this.path, 'config.yaml'),
      provenance: join(this.path, 'provenance.json'),
      metrics: join(this.path, 'metrics.jsonl'),
      summary: join(this.path, 'summary.json'),
      policy: join(this.path, 'policy.onnx'),
      bestPolicy: join(this.path, 'policy-best.onnx'),
      report: join(this.path, 'report.html'),
      episodes: join(this.path, 'episodes'),
      completions: join(this.path, 'completions'),
      completionsPage: join(this.path, 'completions.html'),
      model: join(this.path, 'model'),
      checkpoints: join(this.path, 'checkpoints'),
      tensorboard: join(this.path, 'tensorboard'),
    };
    this.checkpoints = new CheckpointStore(this.files.checkpoints);
  }

  /** Locks the run for this process. @throws PmpoError if another process has the lock. */
  lock(): Promise<FolderLock> {
    return lockFolder(this.path);
  }

  writeConfig(yaml: string): Promise<void> {
    return writeAtomically(this.files.config, yaml);
  }

  readConfig(): Promise<string> {
    return readText(this.files.config);
  }

  writeSummary(summary: RunSummary): Promise<void> {
    return writeAtomically(this.files.summary, `${JSON.stringify(summary, null, 2)}\n`);
  }

  /** The summary of a run of this kind that has ended; undefined while it has none. @throws PmpoError when it is not JSON. */
  async readSummary(kind: JobKind): Promise<RunSummary | undefined> {
    let text: string;
    try {
      text = await readText(this.files.summary);
    } catch (error) {
      if (((error as PmpoError).cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      return readRecord<RunSummary>(JSON.parse(text) as object, kind);
    } catch (cause) {
      throw new PmpoError({ where: this.files.summary, what: 'it is not JSON', cause });
    }
  }

  /** @param onnx the bytes of the policy as an ONNX model. */
  writePolicy(onnx: Uint8Array): Promise<void> {
    return writeAtomically(this.files.policy, [onnx]);
  }

  /** @param onnx the bytes of the policy with the best evaluation as an ONNX model. */
  writeBestPolicy(onnx: Uint8Array): Promise<void> {
    return writeAtomically(this.files.bestPolicy, [onnx]);
  }

  /** Keeps an episode as that of the last evaluation, of the first if there is no earlier one, and of the best if it is. */
  async writeEpisode(evaluated: EvaluatedEpisode, isBest: boolean): Promise<void> {
    await mkdir(this.files.episodes, { recursive: true }).catch((cause: unknown) => {
      throw fileProblem(this.files.episodes, 'making it', cause);
    });
    const text = `${JSON.stringify(evaluated)}\n`;
    const first = await this.readEpisode('first');
    const isFirst = first === undefined || first.steps >= evaluated.steps;
    const names: EpisodeName[] = [
      'last',
      ...(isFirst ? (['first'] as const) : []),
      ...(isBest ? (['best'] as const) : []),
    ];
    for (const name of names) await writeAtomically(join(this.files.episodes, `${name}.json`), text);
  }

  /**
   * An episode that was kept; undefined if there is none that this version can read.
   * @param onDamage receives a line when there is one that nobody can read.
   */
  async readEpisode(
    name: EpisodeName,
    onDamage?: (message: string) => void,
  ): Promise<EvaluatedEpisode | undefined> {
    return this.#readOptional(join(this.files.episodes, `${name}.json`), readEvaluatedEpisode, onDamage);
  }

  /**
   * The starts of the run so far; none in the folders of earlier versions.
   * @param onDamage receives a line when the file cannot be read.
   */
  async readStarts(onDamage?: (message: string) => void): Promise<RunStart[]> {
    return (await this.#readOptional(this.files.provenance, readRunStarts, onDamage)) ?? [];
  }

  /** Reads a file without which the others are still of use: undefined if there is none, or it is damaged. */
  async #readOptional<T>(
    file: string,
    read: (value: unknown) => T,
    onDamage: (message: string) => void = () => {},
  ): Promise<T | undefined> {
    try {
      return read(JSON.parse(await readFile(file, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        onDamage(`${relative(this.path, file)} is damaged and left out: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** Adds a start of the run. */
  async addStart(start: RunStart): Promise<void> {
    const starts = [...(await this.readStarts()), start];
    await writeAtomically(this.files.provenance, `${JSON.stringify(starts, null, 2)}\n`);
  }

  writeReport(html: string): Promise<void> {
    return writeAtomically(this.files.report, html);
  }

  /** Opens the files of records for writing. With `resume`, they are first cut back to a checkpoint's position. */
  openRecords(options?: RecordWriterOptions): RecordWriter {
    return new RecordWriter(this.files.metrics, this.files.tensorboard, options);
  }
}

/**
 * Makes the folder of a new run: `output/name`, or `name-2`, `name-3`, … if the name is taken.
 * @throws PmpoError if the folder cannot be made.
 */
export async function createRunDirectory(output: string, name: string): Promise<RunDirectory> {
  await mkdir(output, { recursive: true }).catch((cause: unknown) => {
    throw fileProblem(output, 'making it', cause);
  });
  for (let attempt = 1; ; attempt++) {
    const path = join(output, attempt === 1 ? name : `${name}-${attempt}`);
    try {
      // Not recursive, so that of two runs that start at the same moment only one gets the name.
      await mkdir(path);
      return new RunDirectory(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileProblem(path, 'making it', cause);
    }
  }
}

/**
 * Opens the folder of an existing run.
 * @throws PmpoError if the folder does not exist or does not hold a run.
 */
export async function openRunDirectory(path: string): Promise<RunDirectory> {
  const directory = new RunDirectory(path);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => undefined,
  );
  const hasConfig = await stat(directory.files.config).then(
    (found) => found.isFile(),
    () => false,
  );
  if (!isFolder || !hasConfig) {
    throw new PmpoError({
      where: path,
      what:
        isFolder === undefined
          ? 'there is no such folder'
          : isFolder
            ? 'it is not the folder of a run, because it has no config.yaml'
            : 'it is a file, not the folder of a run',
      remedy: 'Give the folder of a run, such as runs/NAME',
    });
  }
  return directory;
}
