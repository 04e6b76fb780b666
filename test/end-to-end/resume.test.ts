import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ensureBuilt,
  parameters,
  runHere,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const final = 'checkpoints/step-000000002000.safetensors';

test.each(['pmpo', 'mpo'])(
  '%s: a run that is killed and resumed ends with the same parameters as one that was never stopped, byte for byte',
  async (operator) => {
    const output = join(folder.path, operator);
    await mkdir(output);
    const config = tinyConfig(output);
    config.learner.environmentSteps = 2000;
    config.evaluation.every = 700;
    const file = await writeConfig(output, 'config.yaml', config);
    const args = ['--operator', operator, '--quiet'];

    const whole = runHere(['train', file, '--name', 'whole', ...args]);
    const killed = start(['train', file, '--name', 'killed', '--operator', operator, '--json']);
    // After a few checkpoints, at an arbitrary point of an update or a write.
    await killed.until(/(?:"event":"checkpoint"[\s\S]*){3}/, 'stdout');
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(existsSync(join(output, 'killed', final))).toBe(false);
    const resumed = await runHere(['train', '--resume', join(output, 'killed'), '--quiet']);
    expect(resumed).toMatchObject({ code: 0, stderr: '' });
    expect((await whole).code).toBe(0);

    const [a, b] = await Promise.all(
      ['whole', 'killed'].map((name) => parameters(join(output, name, final))),
    );
    expect(Object.keys(a).length).toBeGreaterThan(20);
    expect(b).toEqual(a);
    for (const policy of ['policy.onnx', 'policy-best.onnx']) {
      const [one, other] = await Promise.all(
        ['whole', 'killed'].map((name) => readFile(join(output, name, policy))),
      );
      expect(one.equals(other), policy).toBe(true);
    }
    const evaluations = await Promise.all(
      ['whole', 'killed'].map(async (name) => {
        const text = await readFile(join(output, name, 'metrics.jsonl'), 'utf8');
        const lines = text
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as Record<string, unknown>);
        return lines.map(({ kind, steps, updates, scores }) => ({
          kind,
          steps,
          updates,
          scores,
        }));
      }),
    );
    expect(evaluations[1]).toEqual(evaluations[0]);
  },
  120_000,
);

describe('a finished run', () => {
  let original: string;
  beforeAll(async () => {
    const output = join(folder.path, 'ended');
    await mkdir(output);
    const file = await writeConfig(output, 'config.yaml', tinyConfig(output));
    const { code } = await runHere(['train', file, '--name', 'original', '--quiet']);
    expect(code).toBe(0);
    original = join(output, 'original');
  });

  /** A copy of the run, for a test to damage. */
  async function copy(name: string): Promise<string> {
    const path = join(folder.path, 'ended', name);
    await cp(original, path, { recursive: true });
    return path;
  }

  test('with a truncated checkpoint gives an error that names it and the remedy', async () => {
    const path = await copy('damaged');
    const newest = join(path, 'checkpoints', 'step-000000000600.safetensors');
    await truncate(newest, 1000);
    const { code, stderr } = await runHere(['train', '--resume', path]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^pmpo: .*step-000000000600\.safetensors: /);
    expect(stderr).toMatch(/Delete step-000000000600\.safetensors to resume from step-000000000400/);
    expect(stderr).not.toMatch(/^\s+at /m);
    await rm(newest);
    expect(await runHere(['train', '--resume', path, '--quiet'])).toMatchObject({ code: 0, stderr: '' });
    expect(await parameters(newest)).toEqual(
      await parameters(join(original, 'checkpoints', 'step-000000000600.safetensors')),
    );
  });

  test('with a checkpoint of other networks is refused', async () => {
    const path = await copy('reshaped');
    const text = await readFile(join(path, 'config.yaml'), 'utf8');
    await writeConfig(path, 'config.yaml', text.replace(/- 16/, '- 24'));
    const { code, stderr } = await runHere(['train', '--resume', path]);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /config\.yaml: it has been edited since the checkpoint at 600: policy\.hidden was \[16\] and is \[24\]\. Undo that/,
    );
    expect(stderr.trimEnd()).not.toContain('\n');
  });

  test('whose configuration was edited where it may be goes on, and says what differs', async () => {
    const path = await copy('edited');
    const text = await readFile(join(path, 'config.yaml'), 'utf8');
    await writeConfig(path, 'config.yaml', text.replace(/keep: \d+/, 'keep: 9'));
    const { code, stderr } = await runHere(['train', '--resume', path]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /The configuration has changed since the checkpoint at 600: checkpoint\.keep was \d+ and is 9\n/,
    );
  });

  test('with a flipped bit in its checkpoint is refused', async () => {
    const path = await copy('flipped');
    const newest = join(path, 'checkpoints', 'step-000000000600.safetensors');
    const bytes = await readFile(newest);
    bytes[bytes.length - 5]! ^= 4;
    await writeFile(newest, bytes);
    for (const command of [['train', '--resume'], ['eval'], ['export']]) {
      const { code, stderr } = await runHere([...command, path]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^pmpo: .*step-000000000600\.safetensors: the file is damaged: .*\n$/);
    }
  });

  test('says which of its records are missing', async () => {
    const path = await copy('cut');
    await rm(join(path, 'checkpoints', 'step-000000000600.safetensors'));
    await truncate(join(path, 'metrics.jsonl'), 100);
    const { code, stderr } = await runHere(['train', '--resume', path]);
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /Warning: Records from before the checkpoint at 400 are missing: .*metrics\.jsonl: it has 100 bytes and had \d+\n/,
    );
    expect(await readFile(join(path, 'report.html'), 'utf8')).toContain('are missing');
  });

  test('can be extended: its records go on without a gap, and the report says it', async () => {
    const path = await copy('extended');
    const extend = (steps: number) =>
      runHere(['train', '--resume', path, '--set', `learner.environmentSteps=${steps}`]);
    expect(await extend(500)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('the run has already made 600 environment steps, more than 500'),
    });
    const { code, stderr } = await extend(1200);
    expect(code).toBe(0);
    const notice = /The run is extended from 600 to 1,200 environment steps, at 600$/m;
    expect(stderr).toMatch(notice);
    const lines = (await readFile(join(path, 'metrics.jsonl'), 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; steps?: number; message?: string });
    const evaluated = lines.flatMap(({ kind, steps }) => (kind === 'evaluation' ? [steps] : []));
    expect(evaluated).toEqual([300, 600, 900, 1200]);
    expect(lines.filter(({ message }) => message !== undefined && notice.test(message))).toHaveLength(1);
    expect(JSON.parse(await readFile(join(path, 'summary.json'), 'utf8'))).toMatchObject({ steps: 1200 });
    expect(await readFile(join(path, 'report.html'), 'utf8')).toContain('extended from 600 to 1,200');
    // The total is now that of the run: no further word of it is needed.
    await rm(join(path, 'checkpoints', 'step-000000001200.safetensors'));
    expect(await runHere(['train', '--resume', path, '--quiet'])).toMatchObject({ code: 0, stderr: '' });
  });

  test('of an older version, whose configuration has old names of keys, can be resumed and evaluated', async () => {
    const path = await copy('older');
    const text = await readFile(join(path, 'config.yaml'), 'utf8');
    const older = text.replace('numEnvs:', 'actors:').replace('envsPerStream:', 'worldsPerStream:');
    expect(older).not.toMatch(/numEnvs|envsPerStream/);
    await writeConfig(path, 'config.yaml', older.replace('nStep:', 'steps:'));
    const evaluated = await runHere(['eval', path, '--episodes', '1']);
    expect(evaluated).toMatchObject({ code: 0, stderr: '' });
    expect(evaluated.stdout).toBe((await runHere(['eval', original, '--episodes', '1'])).stdout);
    expect(await runHere(['train', '--resume', path, '--quiet'])).toMatchObject({ code: 0, stderr: '' });
  });

  test('cannot be resumed with other settings', async () => {
    for (const args of [
      ['other.yaml'],
      ['--seed', '1'],
      ['--set', 'learner.batchSize=8'],
      ['--set', 'learner=3'],
    ]) {
      const { code, stderr } = await runHere(['train', ...args, '--resume', original]);
      expect(code).toBe(2);
      expect(stderr).toMatch(/is resumed with the configuration that it was started with/);
    }
  });

  test('that does not exist gives an error that names the folder', async () => {
    const none = await runHere(['train', '--resume', join(folder.path, 'nothing')]);
    expect(none).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/nothing: there is no such folder/),
    });
    const other = await runHere(['eval', folder.path]);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/it is not the folder of a run/) });
  });
});
