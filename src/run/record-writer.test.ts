import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RecordWriter, type RecordWriterOptions } from './record-writer.js';
import type { EvaluationRecord, RecordLine } from './records.js';

let folder: string;
let metricsFile: string;
let eventFolder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-records-'));
  metricsFile = join(folder, 'metrics.jsonl');
  eventFolder = join(folder, 'tensorboard');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const now = () => Date.UTC(2030, 0, 1);
const open = (options: RecordWriterOptions = {}) =>
  new RecordWriter(metricsFile, eventFolder, { now, ...options });
const metric = (steps: number, values: Record<string, number> = { 'policy/kl': 0.5 }) => ({
  steps,
  stepUnit: 'environment steps' as const,
  updates: steps / 2,
  wallSeconds: steps / 10,
  values,
});

const evaluation = (scores: readonly number[]): EvaluationRecord => ({
  steps: 20,
  stepUnit: 'environment steps',
  updates: 10,
  wallSeconds: 2,
  scoreName: 'return',
  scores,
});

async function lines(): Promise<RecordLine[]> {
  const text = await readFile(metricsFile, 'utf8');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RecordLine);
}

/** The masked CRC32C of the TFRecord format, computed bit by bit, independently of the writer. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** The events of every event file, in the order of their names. Checks the checksums. */
async function events(): Promise<Record<string, unknown>[]> {
  const proto = fileURLToPath(new URL('../../proto/tensorboard/event.proto', import.meta.url));
  const type = protobuf.loadSync(proto).lookupType('tensorboard.Event');
  const found: Record<string, unknown>[] = [];
  for (const name of (await readdir(eventFolder)).sort()) {
    const bytes = await readFile(join(eventFolder, name));
    for (let at = 0; at < bytes.length; ) {
      const length = Number(bytes.readBigUInt64LE(at));
      const data = bytes.subarray(at + 12, at + 12 + length);
      expect(bytes.readUInt32LE(at + 8)).toBe(maskedCrc(bytes.subarray(at, at + 8)));
      expect(bytes.readUInt32LE(at + 12 + length)).toBe(maskedCrc(data));
      found.push(type.toObject(type.decode(data), { longs: Number, enums: String }));
      at += 16 + length;
    }
  }
  return found;
}

/** [step, tag, value] of every scalar. */
async function scalars(): Promise<[number, string, number][]> {
  type Values = { value: { tag: string; simpleValue: number }[] };
  return (await events()).flatMap(({ step, summary }) =>
    ((summary as Values | undefined)?.value ?? []).map(({ tag, simpleValue }): [number, string, number] => [
      step as number,
      tag,
      simpleValue,
    ]),
  );
}

describe('RecordWriter', () => {
  it('writes a line of JSON and a TensorBoard event for each record at once', async () => {
    const records = open();
    records.metrics(metric(10));
    records.evaluation(evaluation([1, 2, 6]));
    records.notice('reconnected');
    const stdScore = Math.sqrt(14 / 3);
    expect(await lines()).toEqual([
      { kind: 'metrics', ...metric(10) },
      {
        kind: 'evaluation',
        ...evaluation([1, 2, 6]),
        meanScore: 3,
        stdScore,
      },
      { kind: 'notice', time: '2030-01-01T00:00:00.000Z', message: 'reconnected' },
    ]);
    expect((await events())[0]).toEqual({ wallTime: now() / 1000, fileVersion: 'brain.Event:2' });
    expect(await scalars()).toEqual([
      [10, 'policy/kl', 0.5],
      [20, 'evaluation/meanReturn', 3],
      [20, 'evaluation/stdReturn', Math.fround(stdScore)],
    ]);
    records.close();
  });

  it('writes numbers that are not finite as null', async () => {
    const records = open();
    records.metrics(metric(1, { 'policy/loss': Number.NaN, 'policy/kl': Number.POSITIVE_INFINITY }));
    records.close();
    expect(await lines()).toMatchObject([{ values: { 'policy/loss': null, 'policy/kl': null } }]);
  });

  it('resumes from a checkpoint without losing or repeating a record', async () => {
    const first = open();
    first.metrics(metric(10));
    first.evaluation(evaluation([1]));
    const position = first.position();
    // A record of the checkpoint's step, but after it: only the position tells them apart.
    first.metrics(metric(20));
    first.metrics(metric(30));
    first.close();
    await appendFile(metricsFile, '{"kind":"metr');

    const second = open({ resume: { steps: 20, position } });
    second.metrics(metric(20));
    second.metrics(metric(30));
    second.close();
    expect((await lines()).map((line) => [line.kind, 'steps' in line && line.steps])).toEqual([
      ['metrics', 10],
      ['evaluation', 20],
      ['metrics', 20],
      ['metrics', 30],
    ]);
    expect((await scalars()).map(([step, tag]) => [step, tag])).toEqual([
      [10, 'policy/kl'],
      [20, 'evaluation/meanReturn'],
      [20, 'evaluation/stdReturn'],
      [20, 'policy/kl'],
      [30, 'policy/kl'],
    ]);
    expect(await events()).toContainEqual({
      wallTime: now() / 1000,
      step: 21,
      sessionLog: { status: 'START' },
    });
  });

  it('resumes more than once from the same checkpoint', async () => {
    const first = open();
    first.metrics(metric(10));
    const position = first.position();
    first.metrics(metric(20));
    first.close();
    const second = open({ resume: { steps: 10, position } });
    second.metrics(metric(20));
    second.close();
    const third = open({ resume: { steps: 10, position } });
    third.metrics(metric(20));
    third.close();
    expect(await lines()).toHaveLength(2);
    expect((await scalars()).map(([step]) => step)).toEqual([10, 20]);
  });

  it('says that records have been cut or damaged, and nothing when they are whole', async () => {
    const records = open();
    for (const step of [10, 20, 30]) records.metrics(metric(step));
    const position = records.position();
    records.close();
    const resume = { steps: 30, position };
    const whole = open({ resume });
    expect(whole.losses).toEqual([]);
    whole.close();
    const text = await readFile(metricsFile, 'utf8');
    await writeFile(metricsFile, text.replace('"metrics"', '"metric'));
    const damaged = open({ resume });
    damaged.close();
    expect(damaged.losses).toEqual([
      `Records from before the checkpoint at 30 are missing: ${metricsFile}: it has ${text.length - 2} bytes and had ${text.length}`,
      `Records are damaged and left out of the report: ${metricsFile}: line 1 is not JSON`,
    ]);
  });

  it('leaves files of other programs beside its own alone', async () => {
    const records = open();
    records.metrics(metric(10));
    const position = records.position();
    records.close();
    await writeFile(join(eventFolder, 'zz notes on tfevents'), 'mine');
    open({ resume: { steps: 10, position } }).close();
    expect(await readFile(join(eventFolder, 'zz notes on tfevents'), 'utf8')).toBe('mine');
  });

  it('resumes even if the records have been deleted, and says that they are missing', async () => {
    const records = open();
    records.metrics(metric(10));
    const position = records.position();
    records.close();
    await rm(metricsFile);
    await rm(eventFolder, { recursive: true });
    const again = open({ resume: { steps: 10, position } });
    expect(again.losses).toEqual([
      `Records from before the checkpoint at 10 are missing: ${metricsFile}: there is no such file`,
      `Records from before the checkpoint at 10 are missing: ${join(eventFolder, position.eventFile)}: there is no such file`,
    ]);
    again.metrics(metric(20));
    again.close();
    expect(await lines()).toHaveLength(1);
  });

  it.skipIf(!existsSync('/dev/full'))('reports a full disk', async () => {
    await symlink('/dev/full', metricsFile);
    const records = open();
    expect(() => records.metrics(metric(1))).toThrow(`${metricsFile}: writing it failed: the disk is full`);
    records.close();
  });

  it('names a file that it cannot write', () => {
    expect(() => new RecordWriter(join(folder, 'no', 'metrics.jsonl'), eventFolder)).toThrow(
      'metrics.jsonl: opening it failed: there is no such file or folder',
    );
  });
});
