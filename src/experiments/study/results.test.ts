import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configText } from '../../config/load.js';
import { createRunDirectory } from '../../run/run-directory.js';
import { planStudy, type StudyPlan, type StudyRun } from './plan.js';
import { writeResults } from './results.js';
import { parseStudy } from './schema.js';

const study = parseStudy(
  's.yaml',
  `server: embedded
base: { learner: { environmentSteps: 100, warmupSteps: 10 } }
variants: { a: {}, b: { operator: { name: dpo } } }
metrics: [policy/kl, policy/stddev]
figures: { curves: { title: Two ways, lines: { First way: a, Second way: b } } }
scales: { small: { tasks: { swingup: { simulator: cartpole_swingup, seeds: 2 } }, figures: { curves: [swingup] } } }
`,
);
const provenance = {
  command: 'pmpo reproduce s.yaml',
  versions: { pmpo: '0.0.0' },
  machine: { processor: 'p', cores: 2, memoryGigabytes: 8 },
};

let folder: string;
let plan: StudyPlan;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-results-'));
  plan = await planStudy(study, 'small', { file: 's.yaml', folder });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Writes the folder of a run with these evaluations and this end. */
async function leave(
  { loaded: { config } }: StudyRun,
  returns: readonly number[][],
  ends: 'done' | 'diverged' | 'in progress',
): Promise<void> {
  const directory = await createRunDirectory(config.output, config.name!);
  await directory.writeConfig(configText(config));
  const records = directory.openRecords();
  for (const [i, kl] of [0.5, 0.25].entries()) {
    records.metrics({
      steps: 10 * i,
      stepUnit: 'environment steps',
      updates: 0,
      wallSeconds: 0,
      values: { 'policy/kl': kl },
    });
  }
  for (const [i, own] of returns.entries()) {
    records.evaluation({
      steps: 50 * (i + 1),
      stepUnit: 'environment steps',
      updates: 25 * i,
      wallSeconds: i + 0.12345,
      scoreName: 'return',
      scores: own,
    });
  }
  records.close();
  const { operator, feedback, seed } = config;
  if (ends === 'done') {
    await directory.writeSummary({
      operator: operator.name,
      feedback: feedback.name,
      environment: 'cartpole_swingup',
      seed,
      steps: 100,
      stepUnit: 'environment steps',
      updates: 25,
      wallSeconds: 2,
      evaluation: { scoreName: 'return', scoreCount: 2, meanScore: 30, stdScore: 10 },
    });
  }
  if (ends === 'diverged') await writeFile(join(directory.path, 'diverged.txt'), 'critic/loss is NaN\n');
}

const read = (name: string) => readFile(join(folder, 'results', name), 'utf8');

describe('writeResults', () => {
  it('writes every evaluation and outcome of finished runs, and of those that diverged', async () => {
    const [a0, b0, a1] = plan.runs;
    await leave(
      a0,
      [
        [1, 3],
        [20, 40],
      ],
      'done',
    );
    await leave(b0, [[5, 5]], 'diverged');
    await leave(a1, [[7, 7]], 'in progress');
    const files = await writeResults(plan, folder, provenance);
    expect(files.map((file) => basename(file))).toEqual([
      'evaluations.csv',
      'outcomes.csv',
      'metrics.csv',
      'summary.csv',
      'improvement.csv',
      'summary.md',
      'provenance.json',
      'curves.svg',
    ]);
    expect(await read('evaluations.csv')).toBe(
      `task,variant,seed,steps,stepUnit,updates,wallSeconds,scoreName,scoreCount,meanScore,stdScore
swingup,a,0,50,environment steps,0,0.123,return,2,2,1
swingup,a,0,100,environment steps,25,1.123,return,2,30,10
swingup,b,0,50,environment steps,0,0.123,return,2,5,0
`,
    );
    expect(await read('outcomes.csv')).toBe(
      `task,variant,seed,status,steps,stepUnit,updates,wallSeconds,scoreName,scoreCount,meanScore,stdScore
swingup,a,0,finished,100,environment steps,25,2,return,2,30,10
swingup,b,0,diverged,50,environment steps,0,0.123,return,2,nan,nan
`,
    );
    expect(await read('metrics.csv')).toBe(
      `task,variant,seed,policy/kl,policy/stddev
swingup,a,0,0.375,
swingup,b,0,0.375,
`,
    );
    expect(await read('summary.csv')).toBe(
      `task,variant,seeds,diverged,interquartileMean,low,high,interval
swingup,a,1,0,30,30,30,range
swingup,b,1,1,0,0,0,range
`,
    );
    expect(await read('improvement.csv')).toBe(
      `variant,over,tasks,fewestSeeds,probabilityOfImprovement,low95,high95
a,b,1,1,1,1,1
`,
    );
    expect(await read('summary.md')).toBe(
      `|  | swingup |
| --- | --- |
| a | 30 (1 seed) |
| b | 0.00 (1 seed), 1 of 1 diverged |
`,
    );
    expect(JSON.parse(await read('provenance.json'))).toEqual({
      ...provenance,
      runs: 2,
      planned: 4,
      runHours: expect.any(Number),
    });
    const svg = await read('curves.svg');
    for (const label of ['Two ways', 'First way', 'Second way', 'swingup']) expect(svg).toContain(label);
  });

  it('writes what its figures draw of metrics, and how metrics end, where a study asks for it', async () => {
    const lines = { First: 'a' };
    const asked = {
      ...plan,
      lastMetrics: ['policy/kl'],
      figures: [
        {
          name: 'kl',
          title: 'KL',
          metric: 'policy/kl',
          panels: [{ title: 'All', tasks: ['swingup'], lines }],
        },
      ],
    };
    await leave(plan.runs[0]!, [[1, 3]], 'done');
    const files = await writeResults(asked, folder, provenance);
    expect(files.map((file) => basename(file))).toContain('kl.svg');
    expect(await read('curves.csv')).toBe(
      'metric,task,variant,seed,steps,updates,value\npolicy/kl,swingup,a,0,0,0,0.5\npolicy/kl,swingup,a,0,10,0,0.25\n',
    );
    expect(await read('last-metrics.csv')).toBe('task,variant,seed,policy/kl\nswingup,a,0,0.25\n');
    expect(await read('summary.md')).toMatch(
      /\n\n\| swingup, at the end \| `policy\/kl` \|\n.*\n\| a \| 0\.25 \|\n$/,
    );
  });

  it('writes empty tables and figures before the first run has ended', async () => {
    await writeResults(plan, folder, provenance);
    expect((await read('outcomes.csv')).trim().split('\n')).toHaveLength(1);
    expect(await read('curves.svg')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
  });
});
