import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Profiler } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { floats } from '../../../test/engine/agreement.js';
import { createEngine } from '../../engine/create.js';
import type { Scalar } from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import { slicesOf, totalsOf } from './cpu-profile.js';
import { readSessionProfile } from './kernel-times.js';
import { sessionsIn } from './profile-run.js';
import { SpanRecorder } from './spans.js';
import { profileText } from './summary.js';
import { traceText } from './trace-events.js';

function node(id: number, functionName: string, url: string, children: number[] = []): Profiler.ProfileNode {
  return { id, callFrame: { functionName, scriptId: '0', url, lineNumber: 0, columnNumber: 0 }, children };
}

const cpu: Profiler.Profile = {
  nodes: [
    node(1, '(root)', '', [2, 3, 6]),
    node(2, '(idle)', ''),
    node(3, 'step', 'file:///x/dist/learners/control/train.js', [4]),
    // A library function without a place of its own counts as its caller's caller.
    node(4, 'sort', 'node:internal/util', [5]),
    node(5, 'sample', 'file:///x/dist/replay/transition-store.js'),
    node(6, 'decode', 'file:///x/dist/dm-env-rpc/codec/step-decoder.js'),
  ],
  startTime: 1000,
  endTime: 1100,
  samples: [2, 4, 3, 5, 6, 2],
  timeDeltas: [10, 20, 30, 10, 5, 15],
};

/** Events as ONNX Runtime writes them. */
const linesOf = (events: readonly object[]): string[] => [
  '[',
  ...events.map((event, i) => `${JSON.stringify(event)}${i < events.length - 1 ? ',' : ''}`),
  ']',
];

const graphs = linesOf([
  { cat: 'Session', name: 'model_loading_array', ts: 0, dur: 5, args: {} },
  { cat: 'Session', name: 'model_run', ts: 100, dur: 50, args: {} },
  { cat: 'Node', name: 'Gemm_1_kernel_time', ts: 105, dur: 30, args: { op_name: 'Gemm' } },
  { cat: 'Node', name: 'Add_2_kernel_time', ts: 136, dur: 10, args: { op_name: 'Add' } },
  // It contains the two above.
  { cat: 'Node', name: 'calls_kernel_time', ts: 104, dur: 43, args: { op_name: 'Scan' } },
  { cat: 'Node', name: 'Add_2_fence_before', ts: 136, dur: 1, args: { op_name: 'Add' } },
]);

/** ONNX Runtime's profile of runs of 100 µs that make so many calls each. */
function runsOf(...callsOfRuns: number[]): string[] {
  return linesOf(
    callsOfRuns.flatMap((calls, run) => [
      { cat: 'Session', name: 'model_run', ts: 200 * run, dur: 100, args: {} },
      ...Array.from({ length: calls }, (_, call) =>
        // Two nodes, to which ONNX Runtime has given one name.
        ['0', '1'].map((node_index) => ({
          ...{ cat: 'Node', name: 'Mul_kernel_time', ts: 200 * run + call, dur: 1 },
          args: { op_name: 'Mul', node_index },
        })),
      ).flat(),
    ]),
  );
}

const profile = {
  steps: 8,
  updates: 4,
  seconds: 0.0001,
  spans: [
    { track: 'environments', start: 500, end: 500.04 },
    { track: 'update', start: 500, end: 500.05 },
    { track: 'update', start: 500.03, end: 500.08 },
  ],
  cpu,
  cpuStart: 500,
  sessions: new Map([['update', await readSessionProfile(graphs)]]),
};

describe('slices of the main thread', () => {
  it('name what the innermost function with a place is part of, and join neighbours', () => {
    expect(slicesOf(cpu)).toEqual([
      { what: 'idle', start: 1010, duration: 20 },
      { what: 'learner', start: 1030, duration: 40 },
      { what: 'replay: batches and n-step returns', start: 1070, duration: 5 },
      { what: 'codec of dm_env_rpc', start: 1075, duration: 15 },
      { what: 'idle', start: 1090, duration: 0 },
    ]);
    expect(totalsOf(slicesOf(cpu))[0]).toEqual(['learner', 40]);
  });
});

describe('a profile of ONNX Runtime', () => {
  it('has runs and kernels', async () => {
    expect(await readSessionProfile(graphs)).toEqual({
      calls: 1,
      runs: [{ name: 'run', start: 100, duration: 50 }],
      kernels: [
        { name: 'Gemm', start: 105, duration: 30 },
        { name: 'Add', start: 136, duration: 10 },
      ],
    });
    await expect(readSessionProfile(['{}'])).rejects.toThrow();
  });

  it('has the calls that its runs made', async () => {
    const { calls, runs } = await readSessionProfile(runsOf(1, 16, 3));
    expect([calls, runs.length]).toEqual([20, 3]);
  });

  describe('in a folder', () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'pmpo-profile-test-'));
    });
    afterEach(() => rm(folder, { recursive: true }));

    it('is, of the graphs of one function, that of the one that is called most', async () => {
      for (const [i, lines] of [runsOf(1, 1, 1), runsOf(16, 3), runsOf(1)].entries()) {
        await writeFile(join(folder, `graph-update_2026-01-01_00-00-0${i}.json`), lines.join('\n'));
      }
      const sessions = await sessionsIn(folder);
      expect([...sessions].map(([name, { calls, runs }]) => [name, calls, runs.length])).toEqual([
        ['update', 19, 2],
      ]);
    });

    it('that ONNX Runtime writes has each call once', async () => {
      const engine = await createEngine('onnx', { threads: 1, profilePrefix: join(folder, 'graph') });
      const total = engine.variable('total', floats([], 0));
      const add = engine.jit('add', ({ x }: { readonly x: Scalar }) => {
        total.assign(tf.add(tf.mul(total, 2), x));
        return { y: tf.tanh(total) };
      });
      const count = 40;
      await Promise.all(Array.from({ length: count }, () => add.run({ x: floats([], 1) })));
      await engine.dispose();
      const [file, ...others] = await readdir(folder);
      expect(others).toEqual([]);
      const { calls, runs } = await readSessionProfile(
        (await readFile(join(folder, file!), 'utf8')).split('\n'),
      );
      expect(calls).toBe(count);
      expect(runs.length).toBeLessThan(count);
    });
  });
});

describe('a recorder of spans', () => {
  it('times calls while it records, and leaves results, errors and other members as they are', async () => {
    let now = 0;
    const recorder = new SpanRecorder(() => now++);
    class Vector {
      #steps = 0;
      readonly numEnvs = 2;
      async step(actions: Float32Array) {
        this.#steps += actions.length;
        if (this.#steps > 2) throw new Error('lost');
        return this.#steps;
      }
      count() {
        return this.#steps;
      }
    }
    const wrapped = recorder.environment(new Vector() as never) as unknown as Vector;
    expect(await wrapped.step(new Float32Array(1))).toBe(1);
    expect(recorder.spans).toEqual([]);
    recorder.isRecording = true;
    await wrapped.step(new Float32Array(1));
    await expect(wrapped.step(new Float32Array(1))).rejects.toThrow('lost');
    expect(wrapped.count()).toBe(3);
    expect(wrapped.numEnvs).toBe(2);
    expect(recorder.spans.map(({ track, start, end }) => [track, end - start])).toEqual([
      ['environments', 1],
      ['environments', 1],
    ]);
  });
});

describe('what is shown', () => {
  it('has shares of the time in which calls were open, once where they overlap', () => {
    const text = profileText(profile);
    expect(text).toMatch(/^ {2}update +2 +0\.05 ms +0\.05 ms +80 %$/m);
    expect(text).toMatch(/^ {2}environments +1 +0\.04 ms +0\.04 ms +40 %$/m);
    expect(text).toMatch(/^ {2}learner +40 %$/m);
    expect(text).toMatch(/^ {2}Gemm +60 %$/m);
    expect(text).toMatch(/^ {2}between the kernels +20 %$/m);
  });

  it('has the time of a call, not of a run', async () => {
    const sessions = new Map([['update', await readSessionProfile(runsOf(4, 6))]]);
    expect(profileText({ ...profile, sessions })).toContain(
      "The graph 'update', 10 calls in 2 runs, 0.02 ms for each call",
    );
  });

  it('is a trace whose events have the fields that viewers read', () => {
    const { traceEvents } = JSON.parse(traceText(profile)) as { traceEvents: Record<string, unknown>[] };
    const complete = traceEvents.filter(({ ph }) => ph === 'X');
    expect(complete.every(({ ts, dur, pid, tid }) => [ts, dur, pid, tid].every(Number.isFinite))).toBe(true);
    expect(complete.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['learner', 'run', 'Gemm', 'Add']),
    );
    const begins = traceEvents.filter(({ ph }) => ph === 'b');
    expect(begins.map(({ name, ts }) => [name, Math.round(ts as number)])).toEqual([
      ['environments', 0],
      ['update', 0],
      ['update', 30],
    ]);
    expect(traceEvents.filter(({ ph }) => ph === 'e')).toHaveLength(begins.length);
  });
});
