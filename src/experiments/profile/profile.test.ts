import type { Profiler } from 'node:inspector';
import { describe, expect, it } from 'vitest';
import { slicesOf, totalsOf } from './cpu-profile.js';
import { readSessionProfile } from './kernel-times.js';
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

const graphs = JSON.stringify([
  { cat: 'Session', name: 'model_loading_array', ts: 0, dur: 5, args: {} },
  { cat: 'Session', name: 'model_run', ts: 100, dur: 50, args: {} },
  { cat: 'Node', name: 'Gemm_1_kernel_time', ts: 105, dur: 30, args: { op_name: 'Gemm' } },
  { cat: 'Node', name: 'Add_2_kernel_time', ts: 136, dur: 10, args: { op_name: 'Add' } },
  // It contains the two above.
  { cat: 'Node', name: 'calls_kernel_time', ts: 104, dur: 43, args: { op_name: 'Scan' } },
  { cat: 'Node', name: 'Add_2_fence_before', ts: 136, dur: 1, args: { op_name: 'Add' } },
]);

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
  sessions: new Map([['update', readSessionProfile(graphs)]]),
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
  it('has runs and kernels', () => {
    expect(readSessionProfile(graphs)).toEqual({
      runs: [{ name: 'run', start: 100, duration: 50 }],
      kernels: [
        { name: 'Gemm', start: 105, duration: 30 },
        { name: 'Add', start: 136, duration: 10 },
      ],
    });
    expect(() => readSessionProfile('{}')).toThrow();
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
