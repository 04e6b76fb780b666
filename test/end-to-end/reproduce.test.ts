import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, run, start, temporaryFolder, tinyConfig, writeConfig } from './program.js';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  await ensureBuilt();
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** A study of three runs, a few seconds each, on embedded simulators. */
function study(beta: number) {
  const { output: _, environment: __, ...base } = tinyConfig('');
  return {
    server: 'embedded',
    // Long enough that the test can stop a run before it ends.
    base: {
      ...base,
      learner: { ...base.learner, environmentSteps: 2000 },
      environment: { numEnvs: 2, createSettings: { episodeSteps: 120 } },
    },
    variants: {
      both: { operator: { name: 'pmpo', beta } },
      rejected: { operator: { name: 'pmpo', alpha: 0, beta: 2 } },
      pairs: { operator: { name: 'dpo' } },
    },
    figures: {
      curves: { title: 'Three ways', lines: { Both: 'both', Rejected: 'rejected', Pairs: 'pairs' } },
    },
    scales: {
      small: {
        tasks: { swingup: { simulator: 'cartpole_swingup', seeds: 1 } },
        figures: { curves: ['swingup'] },
      },
    },
  };
}

test('a study can be stopped and continued, and refuses runs of another study', async () => {
  const file = await writeConfig(folder.path, 'ways.yaml', study(2));
  const args = ['reproduce', file, '--scale', 'small', '--output', folder.path, '--jobs', '1'];
  const running = start(args, { timeoutSeconds: 170 });
  await running.until(/swingup\/both\/seed0: done \(1 of 3\)\nswingup\/rejected\/seed0: starting/, 'stderr');
  running.child.kill('SIGINT');
  const stopped = await running.ended;
  expect(stopped.stderr).toMatch(/Stopped\. Continue with the same command\.\n$/);
  expect(stopped.code).toBe(1);
  const results = join(folder.path, 'ways-small', 'results');
  const read = (name: string) => readFile(join(results, name), 'utf8');
  const outcomes = async () =>
    (await read('outcomes.csv'))
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(',').slice(0, 5).join(','));
  expect(await outcomes()).toEqual(['swingup,both,0,finished,2000']);

  const ended = await run(args, { timeoutSeconds: 170 });
  expect(ended.code, ended.stderr).toBe(0);
  expect(ended.stderr).toMatch(/^3 runs, of which 1 was done before\n/m);
  expect(ended.stderr).not.toMatch(/both\/seed0: (starting|resuming)/);
  expect(await outcomes()).toEqual([
    'swingup,both,0,finished,2000',
    'swingup,rejected,0,finished,2000',
    'swingup,pairs,0,finished,2000',
  ]);
  const svg = await read('curves.svg');
  for (const text of ['Three ways', 'Both', 'Rejected', 'Pairs'])
    expect(svg.includes(`>${text}<`)).toBe(true);
  expect(JSON.parse(await read('provenance.json'))).toMatchObject({
    command: expect.stringContaining('pmpo reproduce'),
    runs: 3,
    planned: 3,
  });

  await writeConfig(folder.path, 'ways.yaml', study(3));
  const refused = await run(args);
  expect(refused.stderr).toMatch(
    /^pmpo: .*swingup\/both\/seed0: it holds a run with other settings.*--output/m,
  );
  expect(refused.code).toBe(1);
}, 400_000);

test('an invalid study is refused before anything starts', async () => {
  const refuse = async (file: string, ...more: string[]) => {
    const { code, stderr } = await run(['reproduce', file, '--output', folder.path, ...more]);
    expect(code).toBe(2);
    expect(stderr).not.toMatch(/\n {4}at /);
    return stderr;
  };
  const file = await writeConfig(folder.path, 'wrong.yaml', study(2));
  expect(await refuse(file, '--scale', 'smal')).toMatch(/unknown scale 'smal'\. Did you mean 'small'\?/);
  expect(await refuse(join(folder.path, 'none.yaml'))).toMatch(/none\.yaml: there is no such file/);
  const broken = await writeConfig(folder.path, 'broken.yaml', { ...study(2), server: 'mars' });
  expect(await refuse(broken, '--scale', 'small')).toMatch(/broken\.yaml: server: /);
});
