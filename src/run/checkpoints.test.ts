import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { encodeSafetensors } from '../core/safetensors.js';
import { nodeFileSystem } from '../system/atomic-file.js';
import type { Checkpoint } from './checkpoints.js';
import { CheckpointStore, expectShapes, readCheckpoint } from './checkpoints.js';

let folder: string;
let store: CheckpointStore;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), 'pmpo-checkpoints-')), 'checkpoints');
  store = new CheckpointStore(folder);
});
afterEach(() => rm(join(folder, '..'), { recursive: true, force: true }));

function checkpoint(value: number): Checkpoint {
  return {
    tensors: {
      'policy/hidden0/weight': { shape: [2, 3], data: new Float32Array(6).fill(value) },
      'replay/episode': { shape: [4], data: new Int32Array([1, -2, 3, value]) },
      'operator/temperature': { shape: [], data: new Float32Array([Number.NaN]) },
    },
    metadata: { updates: value, seeds: [2 ** 53 - 1, 0.1], name: 'größer' },
  };
}

describe('CheckpointStore', () => {
  it('loads the newest checkpoint exactly as it was saved', async () => {
    await store.save(5, checkpoint(1));
    const records = { metricsBytes: 10, eventFile: 'events.out.tfevents.1.pmpo.0000', eventBytes: 20 };
    const config = { seed: 1, operator: { name: 'pmpo' } };
    const file = await store.save(1_000_000, checkpoint(2), { records, config });
    const loaded = await store.load();
    expect(loaded).toEqual({
      file,
      steps: 1_000_000,
      checkpoint: checkpoint(2),
      records,
      config,
      hasChecksum: true,
    });
    expect(await store.latest()).toBe(1_000_000);
    expect((await store.load(5)).checkpoint).toEqual(checkpoint(1));
  });

  it('loads a checkpoint of an earlier version, which called all steps environment steps', async () => {
    const file = await store.save(7, checkpoint(1));
    const metadata = { format: 'pmpo checkpoint 1', environmentSteps: '7', metadata: '{"updates":1}' };
    await writeFile(file, Buffer.concat(encodeSafetensors({ tensors: {}, metadata })));
    expect(await store.load()).toMatchObject({
      steps: 7,
      checkpoint: { metadata: { updates: 1 } },
      hasChecksum: false,
    });
  });

  it('refuses a checkpoint in which any one bit is flipped', async () => {
    const metadata = { updates: 3, seeds: [1, 2] };
    const tensors = { 'policy/bias': { shape: [3], data: new Float32Array([1, -2, 0.5]) } };
    const file = await store.save(1, { tensors, metadata }, { config: { seed: 1 } });
    const whole = await readFile(file);
    const accepted: string[] = [];
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      await writeFile(file, flipped);
      const error = await readCheckpoint(file).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (!(error instanceof PmpoError)) accepted.push(`byte ${bit >> 3}, bit ${bit & 7}: ${error}`);
    }
    expect(accepted).toEqual([]);
  }, 60_000);

  it('names the remedy for a flipped bit: the checkpoint before it', async () => {
    await store.save(1, checkpoint(1));
    const file = await store.save(2, checkpoint(2));
    const bytes = await readFile(file);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes);
    await expect(store.load()).rejects.toThrow(
      `${file}: the file is damaged: its content does not have the checksum that it was saved with. Delete step-000000000002`,
    );
  });

  it.each([
    ['../../victim', 'eventFile is not the name of a TensorBoard file'],
    ['..', 'eventFile is not the name of a TensorBoard file'],
    ['/etc/tfevents', 'eventFile is not the name of a TensorBoard file'],
    ['a\\tfevents', 'eventFile is not the name of a TensorBoard file'],
    [7, 'eventFile is not the name of a TensorBoard file'],
    ['events.out.tfevents.1.pmpo.0000', 'metricsBytes is not a number of bytes', -1],
  ])('refuses records at the place %j', async (eventFile, message, metricsBytes = 0) => {
    const records = { metricsBytes, eventFile: eventFile as string, eventBytes: 0 };
    await store.save(1, checkpoint(1), { records });
    await expect(store.load()).rejects.toThrow(message);
  });

  it('keeps the newest checkpoints and deletes the others, but no other files', async () => {
    for (const steps of [9, 10, 100]) await store.save(steps, checkpoint(steps));
    await writeFile(join(folder, 'notes.txt'), '');
    await store.prune(2);
    expect(await store.list()).toEqual([10, 100]);
    expect(await readdir(folder)).toContain('notes.txt');
  });

  it('deletes partial files of killed processes', async () => {
    await store.save(9, checkpoint(9));
    await writeFile(join(folder, '.step-000000000101.safetensors.7.partial'), 'left by a killed process');
    await store.prune(1);
    expect(await readdir(folder)).toEqual(['step-000000000009.safetensors']);
  });

  it('says that there is no checkpoint', async () => {
    expect(await store.latest()).toBeUndefined();
    await expect(store.load()).rejects.toThrow(
      'there is no checkpoint. The run ended before its first checkpoint',
    );
    await store.save(3, checkpoint(3));
    await expect(store.load(4)).rejects.toThrow(
      'there is no checkpoint at step 4. There are checkpoints at: 3',
    );
  });

  it('names a truncated file and the one before it, from which it resumes once the file is deleted', async () => {
    await store.save(10, checkpoint(1));
    const newest = await store.save(20, checkpoint(2));
    await truncate(newest, 300);
    const attempt = store.load();
    await expect(attempt).rejects.toThrow(PmpoError);
    await expect(attempt).rejects.toThrow(`${newest}: the file is truncated`);
    await expect(attempt).rejects.toThrow(
      'Delete step-000000000020.safetensors to resume from step-000000000010.safetensors',
    );
    await rm(newest);
    expect((await store.load()).steps).toBe(10);
  });

  it('refuses a file that is not a checkpoint', async () => {
    const file = await store.save(1, checkpoint(1));
    await writeFile(file, Buffer.concat(encodeSafetensors({ tensors: {}, metadata: { format: 'pt' } })));
    await expect(store.load()).rejects.toThrow(
      "but 'pt'. There is no earlier checkpoint; start the run again",
    );
    const half = { dtype: 'F16', shape: [1], data: new Uint16Array(1) } as const;
    const metadata = { format: 'pmpo checkpoint 1', steps: '1', metadata: '{}' };
    await writeFile(file, Buffer.concat(encodeSafetensors({ tensors: { half }, metadata })));
    await expect(store.load()).rejects.toThrow("tensor 'half' is F16");
    await writeFile(
      file,
      Buffer.concat(encodeSafetensors({ tensors: {}, metadata: { ...metadata, metadata: '{' } })),
    );
    await expect(store.load()).rejects.toThrow("its metadata 'metadata' is missing or not JSON");
  });

  it('keeps the earlier checkpoints when the disk is full', async () => {
    await store.save(1, checkpoint(1));
    const full = new CheckpointStore(folder, {
      ...nodeFileSystem,
      open: async () => {
        throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
      },
    });
    await expect(full.save(2, checkpoint(2))).rejects.toThrow('the disk is full');
    expect(await readdir(folder)).toEqual(['step-000000000001.safetensors']);
    expect((await store.load()).checkpoint).toEqual(checkpoint(1));
  });

  it('refuses metadata that JSON cannot hold', async () => {
    const metadata = { loss: Number.NaN };
    await expect(store.save(1, { tensors: {}, metadata })).rejects.toThrow("metadata 'loss' is NaN");
  });
});

describe('expectShapes', () => {
  const { tensors } = checkpoint(0);
  const right = { 'policy/hidden0/weight': [2, 3], 'replay/episode': [4], 'operator/temperature': [] };

  it('accepts matching tensors', () => {
    expect(() => expectShapes('f', tensors, right)).not.toThrow();
  });

  it('names the tensor and both shapes', () => {
    expect(() => expectShapes('f', tensors, { ...right, 'policy/hidden0/weight': [3, 2] })).toThrow(
      "f: tensor 'policy/hidden0/weight' has shape [2, 3] instead of [3, 2]",
    );
  });

  it('names missing and unexpected tensors', () => {
    expect(() => expectShapes('f', tensors, { ...right, more: [] })).toThrow("tensor 'more' is missing");
    const { 'replay/episode': _, ...less } = right;
    expect(() => expectShapes('f', tensors, less)).toThrow("tensor 'replay/episode' is unexpected");
  });
});
