import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { cachedBaseModel } from './base-model-cache.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-cache-'));
  vi.stubEnv('PMPO_CACHE', folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

it('a base model in the cache is read again, and refused if a bit of it has changed', async () => {
  const corpus = join(folder, 'corpus.txt');
  await writeFile(corpus, 'the food was good\nthe food was bad\n'.repeat(20));
  const settings = {
    name: 'embedded',
    corpus,
    vocabularySize: 270,
    layers: 1,
    width: 16,
    heads: 2,
    keyValueHeads: 1,
    hidden: 32,
    contextLength: 32,
    pretraining: { steps: 2, batchSize: 2, learningRate: 1e-3 },
  } as const;
  const made = await cachedBaseModel(settings, { engine: 'onnx', threads: 1, say: () => {} });
  const options = { engine: 'onnx', threads: 1, say: () => expect.fail('it is made again') } as const;
  expect((await cachedBaseModel(settings, options)).parameters).toEqual(made.parameters);
  const [name] = await readdir(join(folder, 'models'));
  const file = join(folder, 'models', name, 'model.safetensors');
  const bytes = await readFile(file);
  bytes[bytes.length - 5] ^= 2;
  await writeFile(file, bytes);
  await expect(cachedBaseModel(settings, options)).rejects.toThrow(
    `${file}: the file is damaged: its content does not have the checksum that it was saved with. Delete the folder ${join(folder, 'models', name)}`,
  );
});
