import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type JobTerms, jobTerms } from './job-terms.js';
import { createProgress, type ProgressMode, progressMode, type Total } from './progress.js';
import type { EvaluationRecord, RunSummary } from './records.js';
import { RunDirectory } from './run-directory.js';

class Screen extends PassThrough {
  readonly isTTY = true;
  readonly columns = 120;
  readonly rows = 40;
  text(): string {
    return String(this.read() ?? '');
  }
}

const summary: RunSummary = {
  operator: 'pmpo',
  feedback: 'top-k',
  environment: 'cartpole_swingup',
  seed: 0,
  steps: 100_000,
  stepUnit: 'environment steps',
  updates: 49_500,
  wallSeconds: 130,
  evaluation: { scoreName: 'return', scoreCount: 10, meanScore: 812.3, stdScore: 14.26 },
};
const { stepUnit } = summary;
const { files } = new RunDirectory('/somewhere/else/x');
const evaluation: EvaluationRecord = {
  steps: 20_000,
  stepUnit: 'environment steps',
  updates: 10_000,
  wallSeconds: 20,
  scoreName: 'return',
  scores: [700, 720],
};

function scene(
  mode: ProgressMode,
  everySeconds = 10,
  total: Total = { totalSteps: 100_000 },
  terms?: JobTerms,
) {
  let time = 0;
  const stdout = new Screen();
  const stderr = new Screen();
  const progress = createProgress({
    mode,
    total,
    terms,
    label: 'x',
    stdout,
    stderr,
    everySeconds,
    now: () => time,
  });
  const steps = (seconds: number, steps: number) => {
    time = seconds * 1000;
    progress.update(steps, steps / 2);
  };
  /** Nothing happens until then. */
  const wait = (second: number) => {
    time = second * 1000;
  };
  return { progress, stdout, stderr, steps, wait };
}

describe('progressMode', () => {
  it('follows the flags, then the terminal', () => {
    expect(progressMode({ isTerminal: true })).toBe('bar');
    expect(progressMode({ isTerminal: false })).toBe('lines');
    expect(progressMode({ isTerminal: true, quiet: true })).toBe('quiet');
    expect(progressMode({ isTerminal: true, quiet: true, json: true })).toBe('json');
  });
});

describe('plain lines', () => {
  it('come every few seconds and at evaluations, and end with the result', () => {
    const { progress, stdout, stderr, steps } = scene('lines');
    progress.start(0, 0);
    for (let second = 1; second <= 25; second++) steps(second, second * 1000);
    progress.evaluation(evaluation);
    steps(30, 30_000);
    progress.notice('The connection was lost; reconnected after 2 s');
    progress.checkpoint(30_000, 'file');
    progress.finish(summary, files);
    progress.stop();
    expect(stdout.text()).toBe('');
    expect(stderr.text().split('\n')).toEqual([
      '10,000 / 100,000 steps · 1,000 steps/s · 1 min 30 s left · return –',
      '20,000 / 100,000 steps · 1,000 steps/s · 1 min 20 s left · return –',
      'Evaluation at 20,000 steps: return 710 ± 10 over 2 episodes',
      '30,000 / 100,000 steps · 1,000 steps/s · 1 min 10 s left · return 710',
      'The connection was lost; reconnected after 2 s',
      'Done: 100,000 steps, 49,500 updates in 2 min 10 s',
      'Return 812 ± 14.3 over 10 episodes',
      'Policy: /somewhere/else/x/policy.onnx',
      'Report: /somewhere/else/x/report.html',
      '',
    ]);
  });

  it('measure the rate over the last half minute, from the position at which a resumed run began', () => {
    const { progress, stderr, steps } = scene('lines', 0);
    progress.start(50_000, 25_000);
    for (let second = 1; second <= 60; second++) steps(second, 50_000 + second * 100);
    stderr.text();
    for (let second = 61; second <= 91; second++) steps(second, 56_000 + (second - 60) * 1000);
    expect(stderr.text()).toContain('87,000 / 100,000 steps · 1,000 steps/s · 13 s left');
  });

  it('leave the time of an evaluation out of the rate', () => {
    const { progress, stderr, steps, wait } = scene('lines', 0);
    progress.start(0, 0);
    for (let second = 1; second <= 10; second++) steps(second, second * 1000);
    wait(100);
    progress.evaluation(evaluation);
    steps(101, 11_000);
    expect(stderr.text()).toContain('11,000 / 100,000 steps · 1,000 steps/s · 1 min 29 s left');
  });
});

describe('an offline job', () => {
  it('counts its updates once, and says where its policy is', () => {
    const { progress, stderr } = scene('lines', 10, { totalUpdates: 300 }, jobTerms.offline);
    progress.start(0, 0);
    const offline = { ...summary, steps: 300, stepUnit: 'updates', updates: 300 } as const;
    progress.finish(offline, files);
    expect(stderr.text().split('\n')).toEqual([
      'Done: 300 updates in 2 min 10 s',
      'Return 812 ± 14.3 over 10 episodes',
      'Policy: /somewhere/else/x/policy.onnx',
      'Report: /somewhere/else/x/report.html',
      '',
    ]);
  });
});

describe('a job that samples nothing', () => {
  const labels: RunSummary = {
    ...summary,
    evaluation: { scoreName: 'return', scoreCount: 0, meanScore: Number.NaN, stdScore: Number.NaN },
  };
  const values = { 'heldOut/logProb/rejected': -14.42, 'heldOut/perplexity': 3.21 };

  it('shows the metrics of held-out data, also at the end', () => {
    const { progress, stderr, steps } = scene('lines', 10, { totalUpdates: 60 });
    progress.start(0, 0);
    steps(10, 40);
    progress.heldOut(0, { ...values, 'heldOut/perplexity': 3 });
    progress.heldOut(160, values);
    progress.finish(labels, files);
    expect(stderr.text().split('\n')).toEqual([
      '20 / 60 updates · 4 steps/s · 20 s left · return –',
      'Held out at 0 steps: logProb/rejected −14.4 · perplexity 3',
      'Held out at 160 steps: logProb/rejected −14.4 · perplexity 3.21',
      'Done: 100,000 steps, 49,500 updates in 2 min 10 s',
      'Policy: /somewhere/else/x/policy.onnx',
      'Held out: logProb/rejected −14.4 · perplexity 3.21',
      'Report: /somewhere/else/x/report.html',
      '',
    ]);
  });

  it('reports them as JSON, too', () => {
    const { progress, stdout } = scene('json');
    progress.heldOut(160, values);
    expect(JSON.parse(stdout.text())).toEqual({ event: 'heldOut', steps: 160, stepUnit, values });
  });
});

describe('json', () => {
  it('writes one object per line to stdout, and nothing else', () => {
    const { progress, stdout, stderr, steps } = scene('json');
    progress.start(0, 0);
    steps(5, 5000);
    steps(10, 10_000);
    progress.evaluation(evaluation);
    progress.notice('noted');
    progress.checkpoint(25_000, 'runs/x/checkpoints/step-25000.safetensors');
    progress.finish(summary, files);
    progress.stop();
    expect(stderr.text()).toBe('');
    const events = stdout
      .text()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(events).toEqual([
      { event: 'start', steps: 0, stepUnit, totalSteps: 100_000 },
      {
        event: 'progress',
        steps: 10_000,
        stepUnit,
        updates: 5000,
        stepsPerSecond: 1000,
        secondsLeft: 90,
        scoreName: 'return',
        totalSteps: 100_000,
      },
      { event: 'evaluation', ...evaluation, meanScore: 710, stdScore: 10 },
      { event: 'notice', message: 'noted' },
      { event: 'checkpoint', steps: 25_000, stepUnit, file: 'runs/x/checkpoints/step-25000.safetensors' },
      { event: 'finish', summary, files },
    ]);
  });
});

describe('quiet', () => {
  it('writes nothing at all', () => {
    const { progress, stdout, stderr, steps } = scene('quiet');
    progress.start(0, 0);
    steps(60, 60_000);
    progress.evaluation(evaluation);
    progress.notice('noted');
    progress.finish(summary, files);
    progress.stop();
    expect(stdout.text() + stderr.text()).toBe('');
  });
});

describe('the bar', () => {
  it('shows steps, rate, time left and last return, below the messages', () => {
    const listeners = process.listeners('exit');
    const { progress, stdout, stderr, steps } = scene('bar');
    progress.start(0, 0);
    steps(20, 20_000);
    progress.evaluation(evaluation);
    steps(40, 40_000);
    progress.stop();
    progress.stop();
    const text = stderr.text();
    expect(text).toContain('Evaluation at 20,000 steps: return 710 ± 10 over 2 episodes');
    expect(text).toContain('40% · 40,000 / 100,000 steps · 1,000 steps/s · 1 min 00 s left · return 710');
    progress.notice('after the end');
    progress.finish(summary, files);
    expect(process.listeners('exit')).toEqual(listeners);
    expect(stderr.text()).toMatch(/^after the end\nDone: 100,000 steps/);
    expect(stdout.text()).toBe('');
  });
});
