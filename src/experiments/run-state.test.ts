import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configText, type ResolvedConfig, resolveConfig } from '../config/load.js';
import { createRunDirectory } from '../run/run-directory.js';
import { runState, sameRun } from './run-state.js';

const configure = async (text = ''): Promise<ResolvedConfig> =>
  (await resolveConfig('run.yaml', `environment: {simulator: cartpole_swingup}\n${text}`)).config;

describe('sameRun', () => {
  it('ignores the folder of a run and the address of its simulators, and nothing else', async () => {
    const config = await configure();
    const environment = { ...config.environment, address: 'h:1' };
    expect(sameRun(config, { ...config, output: 'other', name: 'x', environment })).toBe(true);
    expect(sameRun(config, { ...config, seed: 5 })).toBe(false);
    const elsewhere = { ...config.environment, simulator: 'walker_walk' };
    expect(sameRun(config, { ...config, environment: elsewhere })).toBe(false);
  });

  it('ignores the address of a trainer', () => {
    const run = (address: string, maxTokens = 8) => ({
      language: { model: { name: 'trainer', address }, sampling: { maxTokens } },
    });
    expect(sameRun(run('h:1'), run('h:2'))).toBe(true);
    expect(sameRun(run('h:1'), run('h:1', 9))).toBe(false);
  });
});

describe('runState', () => {
  let output: string;
  beforeEach(async () => {
    output = await mkdtemp(join(tmpdir(), 'pmpo-run-state-'));
  });
  afterEach(() => rm(output, { recursive: true, force: true }));

  it('is none, begun and done in turn', async () => {
    const config = await configure();
    const path = join(output, 'r');
    const state = async () => (await runState(path, config, '')).state;
    expect(await state()).toBe('none');
    const directory = await createRunDirectory(output, 'r');
    expect(await state()).toBe('none');
    await directory.writeConfig(configText(config));
    expect(await state()).toBe('none');
    await directory.checkpoints.save(10, { tensors: {}, metadata: {} });
    expect(await state()).toBe('begun');
    await directory.writeSummary({
      operator: 'pmpo',
      feedback: 'top-k',
      environment: 'cartpole_swingup',
      seed: 0,
      steps: 1,
      stepUnit: 'environment steps',
      updates: 1,
      wallSeconds: 1,
      evaluation: { scoreName: 'return', scoreCount: 1, meanScore: 1, stdScore: 0 },
    });
    expect(await state()).toBe('done');
    const other = await configure('seed: 3\n');
    await expect(runState(path, other, 'Move it')).rejects.toThrow(
      /r: it holds a run with other settings.*Move it/,
    );
  });

  it('gives a setting that did not exist when a run was made its default', async () => {
    const config = await configure();
    const directory = await createRunDirectory(output, 'r');
    const { envsPerStream: _, ...environment } = config.environment;
    const older = configText({ ...config, environment } as ResolvedConfig);
    expect(older).not.toContain('envsPerStream');
    await directory.writeConfig(older);
    expect(await runState(directory.path, config, '')).toEqual({ state: 'none' });
    const other = await configure('learner: {batchSize: 7}');
    await expect(runState(directory.path, other, '')).rejects.toThrow(/other settings/);
  });

  it('recognizes a run of an older version, whose keys had other names', async () => {
    const config = await configure();
    const directory = await createRunDirectory(output, 'r');
    const older = configText(config)
      .replace('numEnvs:', 'actors:')
      .replace('envsPerStream:', 'worldsPerStream:')
      .replace('nStep:', 'steps:');
    expect(older).not.toMatch(/numEnvs|envsPerStream|nStep/);
    await directory.writeConfig(older);
    expect(await runState(directory.path, config, '')).toEqual({ state: 'none' });
    const other = await configure('replay: {nStep: 7}');
    await expect(runState(directory.path, other, '')).rejects.toThrow(/other settings/);
  });

  it('refuses a run with settings that no longer exist', async () => {
    const config = await configure();
    const directory = await createRunDirectory(output, 'r');
    await directory.writeConfig(`${configText(config)}obsolete: 1\n`);
    await expect(runState(directory.path, config, '')).rejects.toThrow(/other settings/);
  });
});
