import { z } from 'zod';
import { PmpoError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import type { HostClassifier, HostFeedback, HostFeedbackInput } from '../feedback/classifier.js';
import { defineFeedback } from '../feedback/define.js';
import type {
  ClassifierInfo,
  ClassifyRequest,
  ClassifyResponse,
  FeedbackInfoResponse,
} from '../generated/feedback.js';
import { callUnary } from '../grpc/call.js';
import type { Channel } from '../grpc/channel.js';
import { channelPool } from '../grpc/channel-pool.js';
import type { Peer } from '../grpc/peer.js';
import { serviceOnDemand } from '../grpc/protos.js';
import { addressSchema, poolKeys } from '../grpc/schema.js';
import type { ServerPool } from '../grpc/server-pool.js';
import { probeSeconds } from '../grpc/server-settings.js';
import { contextRange, joinContexts } from './contexts.js';
import { givenSides, givesSchema, sidesOf } from './sides.js';

const service = serviceOnDemand('pmpo/v1/feedback.proto', 'pmpo.v1.Feedback');

const remoteSettings = z.strictObject({
  address: z
    .union([addressSchema, z.array(addressSchema).min(1)])
    .describe(
      'host:port of a feedback service (proto/pmpo/v1/feedback.proto), or a list of several equal ones',
    ),
  classifier: z
    .string()
    .optional()
    .describe('Which classifier of the service; may be left out if it has one'),
  gives: givesSchema,
  contextsPerCall: z
    .int()
    .min(1)
    .optional()
    .describe('Maximum number of contexts in one call; default: all contexts of a batch'),
  deadlineSeconds: z.number().positive().default(300).describe('Maximum duration of one batch'),
  ...poolKeys,
});
type RemoteSettings = z.output<typeof remoteSettings>;

const peer: Peer = {
  configKey: 'feedback',
  protocol: 'pmpo.v1.Feedback',
  server: 'a feedback service (Python: pmpo.serve_feedback)',
  smallerMessages: 'send less at once with feedback.contextsPerCall',
};

interface Connection {
  readonly pool: ServerPool<Channel>;
  readonly classifier: string;
}

/** A classifier behind `pmpo.v1.Feedback`. Calls that are lost with their connection are repeated. */
class RemoteClassifier implements HostClassifier {
  readonly provides;
  readonly deadlineSeconds: number;
  readonly #settings: RemoteSettings;
  #connection: Promise<Connection> | undefined;

  constructor(settings: RemoteSettings) {
    this.#settings = settings;
    this.provides = sidesOf(settings.gives);
    this.deadlineSeconds = settings.deadlineSeconds;
  }

  async open(): Promise<void> {
    await this.#connect();
  }

  #connect(): Promise<Connection> {
    this.#connection ??= connect(this.#settings);
    return this.#connection;
  }

  async classifyOnHost(input: HostFeedbackInput, signal: AbortSignal): Promise<HostFeedback> {
    const { pool, classifier } = await this.#connect();
    const { contexts } = input;
    const { contextsPerCall = contexts, deadlineSeconds } = this.#settings;
    const starts = Array.from(
      { length: Math.ceil(contexts / contextsPerCall) },
      (_, i) => i * contextsPerCall,
    );
    const parts = await Promise.all(
      starts.map((start) => {
        const part = contextRange(input, start, Math.min(contexts, start + contextsPerCall));
        const request = requestOf(classifier, part);
        return pool.run(async (server, stopped) => {
          const call = { deadlineSeconds, signal: stopped };
          const response = await callUnary<ClassifyResponse>(server, service().Classify, request, peer, call);
          return weightsOf(response, part, server.address);
        }, signal);
      }),
    );
    return givenSides(this.provides, joinContexts(parts, input.samplesPerContext, contexts));
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    connection?.pool.close();
  }
}

/** @throws ConnectionLostError if an address cannot be reached; PmpoError if a service lacks the classifier or a side. */
async function connect(settings: RemoteSettings): Promise<Connection> {
  const { pool, addresses } = channelPool(settings, peer, service().GetInfo);
  const info = (server: Channel) =>
    callUnary<FeedbackInfoResponse>(server, service().GetInfo, {}, peer, { deadlineSeconds: probeSeconds });
  try {
    const servers = await pool.connect();
    const names = await Promise.all(
      servers.map(async (server) => chooseClassifier(await info(server), settings, server.address)),
    );
    const other = names.findIndex((name) => name !== names[0]);
    if (other >= 0) {
      throw new PmpoError({
        where: addresses[other],
        what: `its classifier is '${foreignText(names[other]!)}', that at ${addresses[0]} is '${foreignText(names[0]!)}'`,
        remedy: 'Set feedback.classifier',
      });
    }
    return { pool, classifier: names[0]! };
  } catch (error) {
    pool.close();
    throw error;
  }
}

/** The name of the classifier that the settings mean. */
function chooseClassifier(
  { classifiers }: FeedbackInfoResponse,
  { classifier: wanted, gives }: RemoteSettings,
  where: string,
): string {
  const known: readonly ClassifierInfo[] = classifiers ?? [];
  const list = known.map(({ name = '' }) => foreignText(name)).join(', ') || 'none';
  const found =
    wanted === undefined && known.length === 1 ? known[0] : known.find(({ name }) => name === wanted);
  if (found?.name === undefined) {
    throw new PmpoError({
      where,
      what:
        wanted === undefined
          ? `it is not clear which of its classifiers is meant. It has ${list}`
          : `it has no classifier '${wanted}'. It has ${list}`,
      remedy: 'Set feedback.classifier to one of them',
    });
  }
  const sides = sidesOf(gives);
  for (const side of ['accepts', 'rejects'] as const) {
    if (!sides[side] || found[side] === true) continue;
    throw new PmpoError({
      where,
      what: `the classifier '${foreignText(found.name)}' gives no ${side}`,
      remedy: `Set feedback.gives: ${side === 'accepts' ? 'rejects' : 'accepts'}`,
    });
  }
  return found.name;
}

function requestOf(classifier: string, input: HostFeedbackInput): ClassifyRequest {
  // protobufjs takes plain arrays.
  return {
    classifier,
    samplesPerContext: input.samplesPerContext,
    contexts: input.contexts,
    evaluation: Array.from(input.evaluation),
    mask: Array.from(input.mask),
    baseline: Array.from(input.baseline),
    samples: { shape: [...input.sampleShape], values: Array.from(input.sampleValues) },
    observations: { shape: [...input.contextShape], values: Array.from(input.contextValues) },
    sampleTexts: [...(input.sampleTexts ?? [])],
    contextTexts: [...(input.contextTexts ?? [])],
  };
}

function weightsOf(
  { accept = [], reject = [] }: ClassifyResponse,
  { samplesPerContext, contexts }: HostFeedbackInput,
  where: string,
): HostFeedback {
  const size = samplesPerContext * contexts;
  for (const [side, weights] of Object.entries({ accept, reject })) {
    if (weights.length === size) continue;
    throw new PmpoError({
      where,
      what: `${side} has ${weights.length} weights. It must have N × B = ${samplesPerContext} × ${contexts} = ${size}`,
    });
  }
  return { accept: Float32Array.from(accept), reject: Float32Array.from(reject) };
}

/** The classifier `remote`: a service in any language. */
export const remoteDefinition = defineFeedback({
  name: 'remote',
  description: 'A classifier behind gRPC, in any language (proto/pmpo/v1/feedback.proto)',
  settings: remoteSettings,
  fileSettings: ['tls.ca', 'tls.certificate', 'tls.key', 'token.file'],
  create: (settings) => new RemoteClassifier(settings),
});
