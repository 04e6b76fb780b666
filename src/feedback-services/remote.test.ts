import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { classifyOnHostChecked, openChecked } from '../feedback/checked-host.js';
import type { HostClassifier, HostFeedbackInput } from '../feedback/classifier.js';
import type { ClassifyRequest, ClassifyResponse, FeedbackInfoResponse } from '../generated/feedback.js';
import { loadService } from '../grpc/protos.js';
import { remoteDefinition } from './remote.js';

const service = loadService('pmpo/v1/feedback.proto', 'pmpo.v1.Feedback');

interface Service {
  readonly info?: FeedbackInfoResponse;
  classify(request: ClassifyRequest): ClassifyResponse;
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const both = { classifiers: [{ name: 'mine', accepts: true, rejects: true }] };

/** Starts a service and returns its port and the requests that it gets. */
async function serve({ info = both, classify }: Service, port = 0) {
  const requests: ClassifyRequest[] = [];
  const server = new grpc.Server();
  server.addService(service, {
    GetInfo: (_: unknown, reply: (error: null, value: FeedbackInfoResponse) => void) => reply(null, info),
    Classify(
      { request }: { request: ClassifyRequest },
      reply: (error: object | null, value?: ClassifyResponse) => void,
    ) {
      requests.push(request);
      try {
        reply(null, classify(request));
      } catch (error) {
        reply({ code: grpc.status.INTERNAL, details: (error as Error).message });
      }
    },
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    );
  });
  const stop = () => server.forceShutdown();
  ends.push(stop);
  return { address: `127.0.0.1:${bound}`, port: bound, requests, stop };
}

function client(settings: object): HostClassifier {
  const classifier = remoteDefinition.create(settings, 2) as HostClassifier;
  ends.push(() => classifier.close?.());
  return classifier;
}

/** 2 samples of 3 contexts; the evaluation tells the place. */
const input: HostFeedbackInput = {
  samplesPerContext: 2,
  contexts: 3,
  evaluation: Float32Array.of(0, 1, 2, 3, 4, 5),
  mask: new Float32Array(6).fill(1),
  baseline: Float32Array.of(1, 2, 3),
  sampleValues: Float32Array.of(1, 2, 3, 4, 5, 6),
  sampleShape: [2, 3, 1],
  contextValues: Float32Array.of(7, 8, 9),
  contextShape: [3, 1],
};

/** Accepts by a tenth of the evaluation, rejects the rest. */
const tenths = ({ evaluation = [] }: ClassifyRequest): ClassifyResponse => ({
  accept: Array.from(evaluation, (f) => f / 10),
  reject: Array.from(evaluation, (f) => 1 - f / 10),
});

const classify = (classifier: HostClassifier) => classifyOnHostChecked('remote', classifier, input);
const open = (classifier: HostClassifier) => openChecked('remote', classifier, { notice: () => {} });

describe('a classifier behind gRPC', () => {
  it('gets the batch as it is, and gives its weights', async () => {
    const { address, requests } = await serve({ classify: tenths });
    const { accept } = await classify(client({ address }));
    expect(Array.from(accept, (weight) => Math.round(weight * 10))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(requests).toEqual([
      {
        classifier: 'mine',
        samplesPerContext: 2,
        contexts: 3,
        evaluation: [0, 1, 2, 3, 4, 5],
        mask: [1, 1, 1, 1, 1, 1],
        baseline: [1, 2, 3],
        samples: { shape: [2, 3, 1], values: [1, 2, 3, 4, 5, 6] },
        observations: { shape: [3, 1], values: [7, 8, 9] },
        sampleTexts: [],
        contextTexts: [],
      },
    ]);
  });

  it('gets whole contexts in each of several calls, at several addresses', async () => {
    const one = await serve({ classify: tenths });
    const two = await serve({ classify: tenths });
    const whole = await classify(client({ address: one.address }));
    const parts = client({ address: [one.address, two.address], contextsPerCall: 1, inFlight: 1 });
    expect(await classify(parts)).toEqual(whole);
    const seen = [...one.requests.slice(1), ...two.requests].map(({ evaluation }) => evaluation);
    expect(seen.toSorted()).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
    expect(two.requests.length).toBeGreaterThan(0);
  });

  it('goes on after the service was killed and restarted', async () => {
    const first = await serve({ classify: tenths });
    const classifier = client({ address: first.address, reconnect: { initialDelaySeconds: 0.05 } });
    const before = await classify(classifier);
    first.stop();
    const pending = classify(classifier);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const second = await serve({ classify: tenths }, first.port);
    expect(await pending).toEqual(before);
    expect(second.requests).toHaveLength(1);
  });

  it('is chosen by its name if the service has several', async () => {
    const info = { classifiers: [...both.classifiers, { name: 'other', accepts: true, rejects: false }] };
    const { address, requests } = await serve({ info, classify: tenths });
    await expect(open(client({ address }))).rejects.toThrow(
      /: it is not clear which of its classifiers is meant\. It has mine, other\. Set feedback\.classifier/,
    );
    await expect(open(client({ address, classifier: 'mien' }))).rejects.toThrow(
      "it has no classifier 'mien'. It has mine, other",
    );
    await expect(open(client({ address, classifier: 'other' }))).rejects.toThrow(
      "the classifier 'other' gives no rejects. Set feedback.gives: accepts",
    );
    await classify(client({ address, classifier: 'other', gives: 'accepts' }));
    expect(requests[0]?.classifier).toBe('other');
  });

  it.each<[string, (request: ClassifyRequest) => ClassifyResponse, string]>([
    [
      'too few weights',
      () => ({ accept: [1], reject: [] }),
      'accept has 1 weights. It must have N × B = 2 × 3 = 6',
    ],
    [
      'a weight above 1',
      () => ({ accept: [0, 0, 7, 0, 0, 0], reject: [0, 0, 0, 0, 0, 0] }),
      'accept is 7 for sample 0 of context 2',
    ],
    [
      'an error',
      () => {
        throw new Error('the model is not fitted');
      },
      'the server refused Classify: INTERNAL: the model is not fitted',
    ],
  ])('is refused in one line if it answers with %s', async (_, answer, message) => {
    const { address } = await serve({ classify: answer });
    const outcome = classify(client({ address, reconnect: { attempts: 0 } }));
    await expect(outcome).rejects.toThrow(/^feedback 'remote'/);
    await expect(outcome).rejects.toThrow(message);
  });

  it('must be there before a run starts', async () => {
    const { address, stop } = await serve({ classify: tenths });
    stop();
    await expect(open(client({ address, reconnect: { attempts: 0 } }))).rejects.toThrow(
      new RegExp(`^feedback 'remote', ${address}: .*connection`),
    );
  });
});
