import { describe, expect, it } from 'vitest';
import { ConnectionLostError, StoppedError } from '../core/errors.js';
import { classifyOnHostChecked, FeedbackError, openChecked } from './checked-host.js';
import type { HostClassifier, HostFeedback, HostFeedbackInput } from './classifier.js';

const provides = { accepts: true, rejects: true };

/** 1 sample of 2 contexts. */
const input: HostFeedbackInput = {
  samplesPerContext: 1,
  contexts: 2,
  evaluation: Float32Array.of(1, 2),
  mask: Float32Array.of(1, 1),
  baseline: Float32Array.of(0, 0),
  sampleValues: Float32Array.of(0, 0),
  sampleShape: [1, 2, 1],
  contextValues: Float32Array.of(0, 0),
  contextShape: [2, 1],
};
const answer: HostFeedback = { accept: Float32Array.of(1, 0), reject: Float32Array.of(0, 1) };
const never = () => new Promise<HostFeedback>(() => {});

describe('a call of a classifier of plain code', () => {
  it('ends at its deadline, and tells the classifier', async () => {
    let given: AbortSignal | undefined;
    const classifier: HostClassifier = {
      provides,
      deadlineSeconds: 0.05,
      classifyOnHost: (_, signal) => {
        given = signal;
        return never();
      },
    };
    const outcome = classifyOnHostChecked('mine', classifier, input);
    await expect(outcome).rejects.toThrow("feedback 'mine': it has not answered within 0.05 s");
    await expect(outcome).rejects.toBeInstanceOf(FeedbackError);
    expect(given?.aborted).toBe(true);
  });

  it('ends at once when the run is stopped, before or during the call', async () => {
    const stop = new AbortController();
    const during = classifyOnHostChecked('mine', { provides, classifyOnHost: never }, input, {
      signal: stop.signal,
    });
    stop.abort();
    await expect(during).rejects.toBeInstanceOf(StoppedError);
    const before = classifyOnHostChecked('mine', { provides, classifyOnHost: never }, input, {
      signal: stop.signal,
    });
    await expect(before).rejects.toBeInstanceOf(StoppedError);
  });

  it('says each second how long it is waited for, and when the wait is over', async () => {
    const said: (string | undefined)[] = [];
    const slow: HostClassifier = {
      provides,
      deadlineSeconds: 30,
      classifyOnHost: () => new Promise((resolve) => setTimeout(() => resolve(answer), 1300)),
    };
    const quick: HostClassifier = { provides, classifyOnHost: () => answer };
    const onWait = (waiting: string | undefined) => said.push(waiting);
    expect(await classifyOnHostChecked('mine', quick, input, { onWait })).toEqual(answer);
    expect(said).toEqual([]);
    expect(await classifyOnHostChecked('mine', slow, input, { onWait })).toEqual(answer);
    expect(said).toEqual(["waiting for feedback 'mine' for 1 s (at most 30 s)", undefined]);
  });

  it("keeps the place and the remedy of a service's error", async () => {
    const cause = new ConnectionLostError({ where: '127.0.0.1:9', what: 'it is gone', remedy: 'Start it' });
    const failing: HostClassifier = { provides, classifyOnHost: () => Promise.reject(cause) };
    await expect(classifyOnHostChecked('remote', failing, input)).rejects.toThrow(
      "feedback 'remote', 127.0.0.1:9: it is gone. Start it",
    );
  });
});

describe('opening a classifier of plain code', () => {
  it('names it when it fails, and does nothing for one that needs nothing', async () => {
    const context = { notice: () => {} };
    const classifier: HostClassifier = { provides, classifyOnHost: () => answer };
    await openChecked('mine', classifier, context);
    const failing = { ...classifier, open: () => Promise.reject(new Error('no key')) };
    await expect(openChecked('mine', failing, context)).rejects.toThrow("feedback 'mine': it threw: no key");
    const hanging = { ...classifier, open: () => new Promise<void>(() => {}) };
    const signal = AbortSignal.timeout(50);
    await expect(openChecked('mine', hanging, context, { signal })).rejects.toThrow('the run was stopped');
  });
});
