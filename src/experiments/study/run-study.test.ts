import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { RunSummary } from '../../run/records.js';
import { createRunDirectory, openRunDirectory, type RunDirectory } from '../../run/run-directory.js';
import { planStudy, type StudyPlan } from './plan.js';
import { divergence, type RunAction, type RunEnd, runStudy } from './run-study.js';
import { parseStudy } from './schema.js';

/** Studies whose runs write folders like real ones, without training. */

const study = (beta: number) =>
  parseStudy(
    's.yaml',
    `server: embedded
base: { learner: { environmentSteps: 100, warmupSteps: 10 } }
variants: { a: { operator: { beta: ${beta} } }, b: { operator: { name: dpo } } }
figures: { curves: { title: t, lines: { A: a, B: b } } }
scales: { small: { tasks: { swingup: { simulator: cartpole_swingup, seeds: 2 } }, figures: { curves: [swingup] } } }
`,
  );

let folder: string;
let plan: StudyPlan;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-study-'));
  plan = await planStudy(study(2), 'small', { file: 's.yaml', folder });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Makes or opens a run's folder as `pmpo train` does. */
async function begin(action: RunAction): Promise<RunDirectory> {
  if ('resume' in action) return openRunDirectory(action.resume);
  const text = await readFile(action.config, 'utf8');
  const { output, name } = parse(text) as { output: string; name: string };
  const directory = await createRunDirectory(output, name);
  expect(directory.name).toBe(name);
  await directory.writeConfig(text);
  return directory;
}

const summary: RunSummary = {
  operator: 'pmpo',
  feedback: 'top-k',
  environment: 'cartpole_swingup',
  seed: 0,
  steps: 100,
  stepUnit: 'environment steps',
  updates: 50,
  wallSeconds: 1,
  evaluation: { scoreName: 'return', scoreCount: 1, meanScore: 1, stdScore: 0 },
};

type Course = (run: string, directory: RunDirectory) => Promise<RunEnd>;

const toTheEnd: Course = async (_run, directory) => {
  await directory.writeSummary(summary);
  return { state: 'done' };
};
const stopped: Course = async (_run, directory) => {
  await directory.checkpoints.save(50, { tensors: {}, metadata: {} });
  return { state: 'stopped' };
};

/** Runs the study. @returns the result, and everything that was started, said and drawn. */
async function go(
  course: Course,
  { jobs = 1, signal, of = plan }: { jobs?: number; signal?: AbortSignal; of?: StudyPlan } = {},
) {
  const started: string[] = [];
  const said: string[] = [];
  let drawn = 0;
  const result = await runStudy({
    plan: of,
    folder,
    jobs,
    signal,
    say: (line) => said.push(line),
    onProgress: async () => {
      drawn += 1;
    },
    launch: async (action) => {
      const directory = await begin(action);
      const run = directory.path.slice(join(folder, 'runs').length + 1);
      started.push(`${'resume' in action ? 'resume' : 'new'} ${run}`);
      return course(run, directory);
    },
  });
  return { ...result, started, said, drawn };
}

const all = ['swingup/a/seed0', 'swingup/b/seed0', 'swingup/a/seed1', 'swingup/b/seed1'];

describe('runStudy', () => {
  it('makes every run once', async () => {
    const first = await go(toTheEnd);
    expect(first.started).toEqual(all.map((run) => `new ${run}`));
    expect(first).toMatchObject({ failures: [], interrupted: false, drawn: 4 });
    expect(first.said.at(-1)).toBe('swingup/b/seed1: done (4 of 4)');
    const second = await go(toTheEnd);
    expect(second.started).toEqual([]);
    expect(second.said).toEqual(['4 runs, of which 4 were done before']);
  });

  it('resumes an interrupted study: keeps finished runs, resumes the interrupted one, and makes the rest', async () => {
    const abort = new AbortController();
    const first = await go(
      async (run, directory) => {
        if (run === all[0]) return toTheEnd(run, directory);
        abort.abort();
        return stopped(run, directory);
      },
      { signal: abort.signal },
    );
    expect(first.started).toEqual([`new ${all[0]}`, `new ${all[1]}`]);
    expect(first).toMatchObject({ interrupted: true, failures: [], drawn: 1 });
    const second = await go(toTheEnd);
    expect(second.started).toEqual([`resume ${all[1]}`, `new ${all[2]}`, `new ${all[3]}`]);
    expect(second.interrupted).toBe(false);
  });

  it('makes a run anew that was killed before its first checkpoint', async () => {
    await go(async () => ({ state: 'stopped' }));
    expect((await go(toTheEnd)).started).toEqual(all.map((run) => `new ${run}`));
  });

  it('counts a run that diverged as a result, and keeps its message', async () => {
    const message = 'update 7: critic/loss is NaN: the parameters have diverged';
    const first = await go(async (run, directory) =>
      run === all[2] ? { state: 'diverged', message } : toTheEnd(run, directory),
    );
    expect(first.failures).toEqual([]);
    expect(first.said).toContain(`${all[2]}: diverged: ${message} (3 of 4)`);
    expect(await divergence(folder, plan.runs[2])).toBe(message);
    expect(await divergence(folder, plan.runs[0])).toBeUndefined();
    expect((await go(toTheEnd)).started).toEqual([]);
  });

  it('continues after a run that failed, reports it, and retries it the next time', async () => {
    const first = await go(async (run, directory) => {
      if (run !== all[1]) return toTheEnd(run, directory);
      await stopped(run, directory);
      return { state: 'failed', message: 'the server went away' };
    });
    expect(first.started).toHaveLength(4);
    expect(first.failures).toEqual([{ path: all[1], message: 'the server went away' }]);
    expect((await go(toTheEnd)).started).toEqual([`resume ${all[1]}`]);
  });

  it('refuses to mix runs of two configurations before it starts any', async () => {
    await go(async (run, directory) =>
      run === all[0] ? toTheEnd(run, directory) : { state: 'failed', message: '' },
    );
    const changed = await planStudy(study(3), 'small', { file: 's.yaml', folder });
    const started: RunAction[] = [];
    const refused = runStudy({
      plan: changed,
      folder,
      jobs: 1,
      say: () => {},
      launch: async (action) => {
        started.push(action);
        return { state: 'done' };
      },
    });
    await expect(refused).rejects.toThrow(/swingup\/a\/seed0: it holds a run with other settings.*--output/);
    expect(started).toEqual([]);
    // The earlier run is untouched.
    expect(await (await openRunDirectory(join(folder, 'runs', all[0]))).readSummary('control')).toEqual(
      summary,
    );
  });

  it('regards a run with another address of the simulators as the same run', async () => {
    await go(stopped);
    const moved = await planStudy(study(2), 'small', { file: 's.yaml', folder, address: '10.0.0.1:1' });
    expect((await go(toTheEnd, { of: moved })).started).toEqual(all.map((run) => `resume ${run}`));
  });

  it('keeps the given number of runs in progress', async () => {
    let [inProgress, most] = [0, 0];
    let open = () => {};
    const three = new Promise<void>((resolve) => {
      open = resolve;
    });
    const { started } = await go(
      async (run, directory) => {
        inProgress += 1;
        most = Math.max(most, inProgress);
        if (inProgress === 3) open();
        // Waits until there are three, so that a fourth one would be noticed.
        await three;
        await new Promise((resolve) => setTimeout(resolve, 20));
        inProgress -= 1;
        return toTheEnd(run, directory);
      },
      { jobs: 3 },
    );
    expect(most).toBe(3);
    expect(started).toHaveLength(4);
  });
});
