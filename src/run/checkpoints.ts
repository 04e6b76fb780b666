import { mkdir, readdir, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { encodeSafetensors, type SafeTensor } from '../core/safetensors.js';
import { seal, sealOf } from '../core/safetensors-seal.js';
import type { StoredTensor } from '../engine/tensors.js';
import { type FileSystem, fileProblem, nodeFileSystem, writeAtomically } from '../system/atomic-file.js';
import { readSafetensorsFile } from '../system/safetensors-file.js';
import { checkRecordsPosition, type RecordsPosition } from './record-writer.js';

/** Everything that a job needs to resume, bit for bit. */
export interface Checkpoint {
  /** Parameters, optimizer slots, operator state, replay, open episodes. */
  readonly tensors: Readonly<Record<string, StoredTensor>>;
  /** Counters and other small facts, as JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** A checkpoint read back from its file. */
export interface LoadedCheckpoint {
  readonly file: string;
  /** Environment steps, or completions of a language job, at which it was saved. */
  readonly steps: number;
  readonly checkpoint: Checkpoint;
  /** The length of the run's records when it was saved. Resuming cuts off everything after it. */
  readonly records?: RecordsPosition;
  /** The configuration of the job that saved it. Absent: an earlier version saved it. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** False if an earlier version saved it, without a checksum: damage to its values cannot be seen. */
  readonly hasChecksum: boolean;
}

/** What is saved with a checkpoint beside the job's own state. */
export interface CheckpointContext {
  readonly records?: RecordsPosition;
  readonly config?: Readonly<Record<string, unknown>>;
}

const format = 'pmpo checkpoint 2';
/** The format of earlier versions, which has no checksum. */
const formerFormat = 'pmpo checkpoint 1';
const filePattern = /^step-(\d+)\.safetensors$/;
const partialPattern = /^\.step-\d+\.safetensors\.\d+\.partial$/;

function fileName(steps: number): string {
  return `step-${String(steps).padStart(12, '0')}.safetensors`;
}

/** JSON text that parses to exactly `value`. @throws TypeError for values that JSON would lose, such as NaN. */
function exactJson(value: unknown): string {
  return JSON.stringify(value, (key, item: unknown) => {
    const lost =
      (typeof item === 'number' && !Number.isFinite(item)) ||
      typeof item === 'bigint' ||
      typeof item === 'function';
    if (lost) throw new TypeError(`checkpoint metadata '${key}' is ${String(item)}, which JSON cannot hold`);
    return item;
  });
}

function toSafe({ shape, data }: StoredTensor): SafeTensor {
  const dtype = data instanceof Float32Array ? 'F32' : data instanceof Int32Array ? 'I32' : 'U8';
  return { dtype, shape, data };
}

/**
 * Reads one checkpoint file.
 * @throws PmpoError naming the file and what is wrong with it.
 */
export async function readCheckpoint(file: string): Promise<LoadedCheckpoint> {
  const { tensors, metadata, ...read } = await readSafetensorsFile(file);
  const hasChecksum = metadata.format === format;
  if (hasChecksum && !read.hasChecksum) {
    throw new PmpoError({ where: file, what: 'the file is damaged: it has no checksum' });
  }
  if (!hasChecksum && metadata.format !== formerFormat) {
    throw new PmpoError({
      where: file,
      what: `it is not a '${format}' file but '${metadata.format ?? 'unnamed'}'`,
    });
  }
  const named: Record<string, StoredTensor> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    if (!(data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array)) {
      throw new PmpoError({
        where: file,
        what: `tensor '${name}' is ${dtype}; checkpoints hold F32, I32 and U8`,
      });
    }
    named[name] = { shape, data };
  }
  const parse = <T>(key: string): T => {
    try {
      return JSON.parse(metadata[key]!) as T;
    } catch (cause) {
      throw new PmpoError({ where: file, what: `its metadata '${key}' is missing or not JSON`, cause });
    }
  };
  const config = metadata.config === undefined ? undefined : parse<Record<string, unknown>>('config');
  return {
    file,
    hasChecksum,
    // Earlier versions called the steps of every job environment steps.
    steps: parse(metadata.steps === undefined ? 'environmentSteps' : 'steps'),
    checkpoint: { tensors: named, metadata: parse('metadata') },
    ...(metadata.records === undefined ? {} : { records: checkRecordsPosition(file, parse('records')) }),
    ...(config === undefined ? {} : { config }),
  };
}

/** A folder with the checkpoints of one run: `step-000000025000.safetensors`, … */
export class CheckpointStore {
  constructor(
    readonly folder: string,
    private readonly system: FileSystem = nodeFileSystem,
  ) {}

  /** The steps at which there are checkpoints, in ascending order. */
  async list(): Promise<number[]> {
    let names: string[];
    try {
      names = await readdir(this.folder);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw fileProblem(this.folder, 'listing it', cause);
    }
    return names
      .flatMap((name) => filePattern.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  }

  fileOf(steps: number): string {
    return join(this.folder, fileName(steps));
  }

  /**
   * Saves a checkpoint in one atomic write.
   * @returns its file.
   * @throws PmpoError if it cannot be written, for example because the disk is full. Earlier checkpoints stay intact.
   */
  async save(
    steps: number,
    checkpoint: Checkpoint,
    { records, config }: CheckpointContext = {},
  ): Promise<string> {
    const file = this.fileOf(steps);
    const tensors = Object.fromEntries(
      Object.entries(checkpoint.tensors).map(([name, tensor]) => [name, toSafe(tensor)]),
    );
    const metadata = {
      format,
      ...sealOf,
      steps: exactJson(steps),
      metadata: exactJson(checkpoint.metadata),
      ...(records === undefined ? {} : { records: exactJson(records) }),
      ...(config === undefined ? {} : { config: exactJson(config) }),
    };
    await mkdir(this.folder, { recursive: true }).catch((cause: unknown) => {
      throw fileProblem(this.folder, 'making it', cause);
    });
    await writeAtomically(file, seal(encodeSafetensors({ tensors, metadata })), this.system);
    return file;
  }

  /** The steps of the newest checkpoint; undefined when there is none. */
  async latest(): Promise<number | undefined> {
    return (await this.list()).at(-1);
  }

  /**
   * Loads a checkpoint. It never falls back from a damaged checkpoint to an earlier one, because the training between
   * them would be lost without notice.
   * @param steps the steps at which it was saved; default: the newest.
   * @throws PmpoError if there is no such checkpoint, or its file is damaged. The message then names the one before it.
   */
  async load(steps?: number): Promise<LoadedCheckpoint> {
    const all = await this.list();
    const wanted = steps ?? all.at(-1);
    if (wanted === undefined || !all.includes(wanted)) {
      throw new PmpoError({
        where: this.folder,
        what: wanted === undefined ? 'there is no checkpoint' : `there is no checkpoint at step ${wanted}`,
        remedy:
          all.length === 0
            ? 'The run ended before its first checkpoint; start it again without --resume'
            : `There are checkpoints at: ${all.join(', ')}`,
      });
    }
    try {
      return await readCheckpoint(this.fileOf(wanted));
    } catch (cause) {
      if (!(cause instanceof PmpoError)) throw cause;
      const older = all.filter((step) => step < wanted).at(-1);
      const file = basename(this.fileOf(wanted));
      throw new PmpoError({
        ...cause.details,
        remedy:
          older === undefined
            ? 'There is no earlier checkpoint; start the run again'
            : `Delete ${file} to resume from ${basename(this.fileOf(older))}`,
        cause,
      });
    }
  }

  /** Deletes all but the newest `keep` checkpoints, and partial files of killed processes. */
  async prune(keep: number): Promise<void> {
    const all = await this.list();
    if (all.length === 0) return;
    const old = all.slice(0, Math.max(0, all.length - keep)).map(fileName);
    const partial = (await readdir(this.folder)).filter((name) => partialPattern.test(name));
    for (const name of [...old, ...partial]) {
      const file = join(this.folder, name);
      await unlink(file).catch((cause: unknown) => {
        throw fileProblem(file, 'deleting it', cause);
      });
    }
  }
}

/**
 * Checks that a checkpoint has exactly the tensors that a job expects.
 * @param where the checkpoint's file, for messages.
 * @param expected the shape of each tensor, by name.
 * @throws PmpoError naming the first tensor that is missing, unexpected, or of the wrong shape.
 */
export function expectShapes(
  where: string,
  tensors: Checkpoint['tensors'],
  expected: Readonly<Record<string, readonly number[]>>,
): void {
  const remedy =
    'Resume with the configuration that made it: networks, simulator, operator and samples must be the same';
  for (const [name, shape] of Object.entries(expected)) {
    const found = tensors[name];
    if (found === undefined) throw new PmpoError({ where, what: `tensor '${name}' is missing`, remedy });
    if (found.shape.length !== shape.length || found.shape.some((size, i) => size !== shape[i])) {
      throw new PmpoError({
        where,
        what: `tensor '${name}' has shape [${found.shape.join(', ')}] instead of [${shape.join(', ')}]`,
        remedy,
      });
    }
  }
  const extra = Object.keys(tensors).find((name) => !Object.hasOwn(expected, name));
  if (extra !== undefined) throw new PmpoError({ where, what: `tensor '${extra}' is unexpected`, remedy });
}
