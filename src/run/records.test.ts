import { describe, expect, it } from 'vitest';
import { readRecord } from './records.js';

/** Lines of metrics.jsonl as version 0.1.0 wrote them, copied from files. */
const former = {
  controlMetrics:
    '{"kind":"metrics","environmentSteps":2400,"updates":350,"wallSeconds":2.5,"values":{"policy/kl":0.01,"acting/return":81.5}}',
  controlEvaluation:
    '{"kind":"evaluation","environmentSteps":5000,"updates":0,"wallSeconds":7.003,"meanReturn":7,"stdReturn":1,"returns":[6,null,8]}',
  languageMetrics:
    '{"kind":"metrics","environmentSteps":32,"updates":1,"wallSeconds":63.2,"values":{"policy/loss":-3.3,"acting/return":0.26,"acting/stdReturn":0.34,"completion/tokens":17.5}}',
  languageEvaluation:
    '{"kind":"evaluation","environmentSteps":0,"updates":0,"wallSeconds":19.5,"meanReturn":0.75,"stdReturn":0.25,"returns":[1,0.5]}',
  notice: '{"kind":"notice","time":"2026-07-01T10:00:00.000Z","message":"connected again"}',
};

const formerSummary = `{
  "operator": "pmpo",
  "feedback": "top-k",
  "environment": "trainer",
  "seed": 0,
  "environmentSteps": 640,
  "updates": 20,
  "wallSeconds": 539.549865122,
  "evaluation": {
    "episodes": 64,
    "meanReturn": 0.8375722010832304,
    "stdReturn": 0.30494268455759854
  }
}`;

const parsed = (text: string) => JSON.parse(text) as object;

describe('readRecord', () => {
  it('gives records of an earlier version of a control run the terms of today', () => {
    expect(readRecord(parsed(former.controlMetrics), 'control')).toEqual({
      kind: 'metrics',
      steps: 2400,
      stepUnit: 'environment steps',
      updates: 350,
      wallSeconds: 2.5,
      values: { 'policy/kl': 0.01, 'acting/return': 81.5 },
    });
    expect(readRecord(parsed(former.controlEvaluation), 'control')).toEqual({
      kind: 'evaluation',
      steps: 5000,
      stepUnit: 'environment steps',
      updates: 0,
      wallSeconds: 7.003,
      scoreName: 'return',
      meanScore: 7,
      stdScore: 1,
      scores: [6, null, 8],
    });
  });

  it("gives MPO's M-step loss the name that it has since policy/loss is the total", () => {
    const line = {
      ...parsed(former.controlMetrics),
      values: { 'policy/loss': 1, 'policy/temperatureLoss': 2 },
    };
    expect(readRecord(line, 'control')).toMatchObject({
      values: { 'policy/mStepLoss': 1, 'policy/temperatureLoss': 2 },
    });
  });

  it('gives those of a language run the terms of language', () => {
    expect(readRecord(parsed(former.languageMetrics), 'language')).toEqual({
      kind: 'metrics',
      steps: 32,
      stepUnit: 'completions',
      updates: 1,
      wallSeconds: 63.2,
      values: {
        'policy/loss': -3.3,
        'acting/reward': 0.26,
        'acting/stdReward': 0.34,
        'completion/tokens': 17.5,
      },
    });
    expect(readRecord(parsed(former.languageEvaluation), 'language')).toEqual({
      kind: 'evaluation',
      steps: 0,
      stepUnit: 'completions',
      updates: 0,
      wallSeconds: 19.5,
      scoreName: 'reward',
      meanScore: 0.75,
      stdScore: 0.25,
      scores: [1, 0.5],
    });
  });

  it('reads a summary of an earlier version', () => {
    expect(readRecord(parsed(formerSummary), 'language')).toEqual({
      operator: 'pmpo',
      feedback: 'top-k',
      environment: 'trainer',
      seed: 0,
      steps: 640,
      stepUnit: 'completions',
      updates: 20,
      wallSeconds: 539.549865122,
      evaluation: {
        scoreName: 'reward',
        scoreCount: 64,
        meanScore: 0.8375722010832304,
        stdScore: 0.30494268455759854,
      },
    });
  });

  it('does not change records of this version', () => {
    const current = { kind: 'metrics', steps: 1, stepUnit: 'completions', values: { 'acting/return': 1 } };
    expect(readRecord(current, 'language')).toEqual(current);
    expect(readRecord(parsed(former.notice), 'control')).toEqual(parsed(former.notice));
  });
});
