import { describe, expect, it } from 'vitest';
import { loadJob, resolveJob } from './load.js';
import { parseOverride } from './source.js';

const control = 'environment: {simulator: reacher}\n';
const language = `language:
  model: {name: embedded}
  dataset: {file: labels.jsonl}
`;

describe('a key that has another name now', () => {
  it.each([
    [control, 'environment.actors', '4', 'environment.numEnvs'],
    [control, 'environment.worldsPerStream', '2', 'environment.envsPerStream'],
    [control, 'replay.steps', '3', 'replay.nStep'],
    [language, 'language.dataset.end', '<eos>', 'language.dataset.endToken'],
  ])('%s: %s is refused, and the error names the new key', async (text, before, value, now) => {
    await expect(resolveJob('run.yaml', text, [parseOverride(`${before}=${value}`)])).rejects.toMatchObject({
      message: `--set ${before}: this key is now ${now}`,
    });
    const setsNow = [parseOverride(`${now}=${value}`)];
    await expect(resolveJob('run.yaml', text, setsNow)).resolves.toBeDefined();
  });

  it('is named with its line in the file, and every one of them at once', async () => {
    const text = 'environment:\n  simulator: reacher\n  actors: 4\nreplay:\n  steps: 3\n';
    await expect(resolveJob('run.yaml', text)).rejects.toMatchObject({
      message:
        'run.yaml: environment.actors (line 3): this key is now environment.numEnvs\n' +
        'run.yaml: replay.steps (line 5): this key is now replay.nStep',
    });
  });

  it('is read in the configuration that an older version left in the folder of a run', async () => {
    const text = `${control}replay: {steps: 3, capacity: 500}\nseed: 7`.replace(
      'reacher',
      'reacher, actors: 4',
    );
    const job = await resolveJob('config.yaml', text, [], { renamedKeys: 'read' });
    const { config } = await resolveJob(
      'config.yaml',
      'environment: {simulator: reacher, numEnvs: 4}\nreplay: {nStep: 3, capacity: 500}\nseed: 7',
    );
    expect(job.config).toEqual(config);
    await expect(loadJob('/none.yaml', [], { renamedKeys: 'read' })).rejects.toThrow(/there is no such file/);
  });

  it('is ignored if a configuration also has the new key', async () => {
    const text = 'environment: {simulator: reacher, numEnvs: 2, actors: 4}';
    const { config } = await resolveJob('config.yaml', text, [], { renamedKeys: 'read' });
    expect(config).toMatchObject({ environment: { numEnvs: 2 } });
  });
});
