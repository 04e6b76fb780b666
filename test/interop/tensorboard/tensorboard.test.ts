import { execFileSync } from 'node:child_process';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RecordWriter, type RecordWriterOptions } from '../../../src/run/record-writer.js';

const python = process.env.PMPO_PYTHON_TENSORBOARD;
if (python === undefined) throw new Error('run this with `npm run test:interop tensorboard`');
const script = fileURLToPath(new URL('read_events.py', import.meta.url));
const now = () => Date.UTC(2030, 0, 1);

let folder: string;
let events: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-tensorboard-'));
  events = join(folder, 'tensorboard');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (options: RecordWriterOptions = {}) =>
  new RecordWriter(join(folder, 'metrics.jsonl'), events, { now, ...options });
const metric = (steps: number, kl: number) => ({
  steps,
  stepUnit: 'environment steps' as const,
  updates: 1,
  wallSeconds: 1,
  values: { 'policy/kl': kl },
});

function read(): { scalars: Record<string, [number, number][]>; first: number } {
  const text = execFileSync(python!, [script, events], {
    encoding: 'utf8',
    timeout: 60_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return JSON.parse(text) as ReturnType<typeof read>;
}

it('writes events that TensorBoard reads', () => {
  const records = open();
  records.metrics(metric(500, 0.1));
  records.metrics(metric(2 ** 40, -2));
  records.evaluation({
    steps: 500,
    stepUnit: 'environment steps',
    updates: 1,
    wallSeconds: 1,
    scoreName: 'return',
    scores: [1, 3],
  });
  records.close();
  expect(read()).toEqual({
    scalars: {
      'policy/kl': [
        [500, Math.fround(0.1)],
        [2 ** 40, -2],
      ],
      'evaluation/meanReturn': [[500, 2]],
      'evaluation/stdReturn': [[500, 1]],
    },
    first: now() / 1000,
  });
});

it('shows each step once after a run was killed and resumed', async () => {
  const first = open();
  first.metrics(metric(10, 1));
  first.metrics(metric(20, 2));
  const position = first.position();
  first.metrics(metric(20, 3));
  first.metrics(metric(30, 4));
  first.close();
  // The last record is incomplete, as after a kill during a write.
  const [file] = await readdir(events);
  await appendFile(join(events, file!), Buffer.from([24, 0, 0]));
  const second = open({ resume: { steps: 20, position } });
  second.metrics(metric(30, 5));
  second.close();
  expect(read().scalars).toEqual({
    'policy/kl': [
      [10, 1],
      [20, 2],
      [30, 5],
    ],
  });
});
