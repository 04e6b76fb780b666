import { PmpoError } from '../core/errors.js';
import type { GetInfoResponse, Trainer } from '../generated/trainer.js';
import { openChannel } from '../grpc/channel.js';
import { connectionDefaults } from '../grpc/connection-defaults.js';
import type { Peer } from '../grpc/peer.js';
import type { SecuritySettings } from '../grpc/security.js';
import type { LanguageModel } from './language-model.js';
import type {
  ScoreParts,
  SequenceCoefficients,
  SequenceScore,
  TokenSequence,
  TrainableModel,
  TrainableModelInfo,
} from './trainable-model.js';
import { TrainerConnection, type TrainerMethod } from './trainer-connection.js';
import {
  checkCoefficients,
  coefficientsMessage,
  inParts,
  readScores,
  sequenceMessage,
} from './trainer-messages.js';

/** A language model trained by a service of proto/pmpo/v1/trainer.proto, such as plugins/torch-trainer. */

export interface TrainerClientOptions extends SecuritySettings {
  /** host:port */
  readonly address: string;
  /** What samples from the weights that the trainer publishes; closed by whoever made it. */
  readonly sampler: LanguageModel;
  /** How long connecting, and a call that computes little, may take; default: 30. */
  readonly deadlineSeconds?: number;
  /** How long a call that computes or writes may take; default: 1800. */
  readonly computeSeconds?: number;
  /** Who trains, for others to read. While this client is open, no other holder may train there; absent: it holds nothing. */
  readonly holder?: string;
  readonly keepaliveSeconds?: number;
  /** The server's own limit: larger batches are sent in several calls. Default: 64. */
  readonly maxMessageMegabytes?: number;
  /** Where a person sets all this, for messages; default: `language.trainer`. */
  readonly configKey?: string;
  /** Aborted while connecting: nobody waits for it any more. */
  readonly signal?: AbortSignal;
}

/**
 * Connects to a trainer.
 * @throws PmpoError when it cannot be reached or trusted, when somebody else holds it, or when the sampler's tokenizer has
 *   another vocabulary: the same text would be other tokens to either.
 */
export async function openTrainer(options: TrainerClientOptions): Promise<TrainerClient> {
  const { address, configKey = 'language.trainer', deadlineSeconds = 30, sampler } = options;
  const peer: Peer = {
    configKey,
    protocol: 'pmpo.v1.Trainer',
    server: 'a trainer (`pmpo serve trainer`)',
  };
  const channel = await openChannel({ ...options, deadlineSeconds }, peer);
  const connection = new TrainerConnection(channel, peer);
  try {
    // First: who holds it is what there is to know of a trainer that is somebody else's.
    if (options.holder !== undefined) await connection.hold(options.holder, deadlineSeconds);
    const info = infoOf(await connection.call('GetInfo', {}, deadlineSeconds), address);
    if (info.vocabularyHash !== sampler.tokenizer.vocabularyHash) {
      throw new PmpoError({
        where: address,
        what: `the vocabulary of its model (${info.name}) is not that of the sampler's tokenizer (${sampler.info.name})`,
        remedy: 'Train and sample the same model',
      });
    }
    return new TrainerClient(connection, info, options);
  } catch (error) {
    connection.close();
    throw error;
  }
}

function infoOf(message: GetInfoResponse, where: string): TrainableModelInfo {
  const { model = '', vocabularyHash = '', vocabularySize = 0, contextLength = 0 } = message;
  if (vocabularyHash === '' || vocabularySize === 0 || contextLength === 0) {
    throw new PmpoError({
      where,
      what: 'the trainer does not say which vocabulary or context its model has',
    });
  }
  return {
    name: model,
    vocabularySize,
    contextLength,
    vocabularyHash,
    trainableParameters: message.trainableParameters ?? 0,
    steps: message.steps ?? 0,
  };
}

/** A trainer that is connected to; made by `openTrainer`. */
export class TrainerClient implements TrainableModel {
  readonly sampler: LanguageModel;
  readonly #connection: TrainerConnection;
  readonly #deadline: number;
  readonly #computing: number;
  readonly #largest: number;
  readonly #holder: string;
  #info: TrainableModelInfo;

  constructor(connection: TrainerConnection, info: TrainableModelInfo, options: TrainerClientOptions) {
    this.sampler = options.sampler;
    this.#connection = connection;
    this.#info = info;
    this.#holder = options.holder ?? '';
    this.#deadline = options.deadlineSeconds ?? 30;
    this.#computing = options.computeSeconds ?? 1800;
    this.#largest = (options.maxMessageMegabytes ?? connectionDefaults.maxMessageMegabytes) * 2 ** 20;
  }

  get info(): TrainableModelInfo {
    return this.#info;
  }

  async score(sequences: readonly TokenSequence[], what: ScoreParts): Promise<readonly SequenceScore[]> {
    const scores: SequenceScore[] = [];
    for (const { start, end } of inParts(sequences, this.#largest)) {
      const part = sequences.slice(start, end);
      const request = { sequences: part.map(sequenceMessage), ...what };
      const answer = await this.#compute('Score', request);
      const { policy, reference, kl, reverseKl } = what;
      const asked = { logProb: policy, referenceLogProb: reference, kl, reverseKl };
      scores.push(...readScores(answer.scores ?? [], part, asked, this.#connection.address));
    }
    return scores;
  }

  /**
   * See TrainableModel. A batch over the message limit is sent in parts, each of which adds its gradient.
   * @throws PmpoError; where a part fails after others have added theirs, it says so.
   */
  async forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<readonly SequenceScore[]> {
    checkCoefficients(sequences, coefficients);
    const scores: SequenceScore[] = [];
    for (const { start, end } of inParts(sequences, this.#largest)) {
      const part = sequences.slice(start, end);
      const own = coefficients.slice(start, end);
      const request = {
        sequences: part.map(sequenceMessage),
        coefficients: own.map(coefficientsMessage),
      };
      const has = (name: 'kl' | 'reverseKl') => own.some((entry) => entry[name] !== undefined);
      const asked = { logProb: true, referenceLogProb: false, kl: has('kl'), reverseKl: has('reverseKl') };
      try {
        const answer = await this.#compute('ForwardBackward', request);
        scores.push(...readScores(answer.scores ?? [], part, asked, this.#connection.address));
      } catch (cause) {
        throw start === 0 ? cause : partlyAdded(cause, start, sequences.length);
      }
    }
    return scores;
  }

  async optimStep(options: {
    readonly learningRate: number;
    readonly maxGradientNorm?: number;
  }): Promise<{ readonly gradientNorm: number }> {
    const { learningRate, maxGradientNorm = 0 } = options;
    const answer = await this.#compute('OptimStep', {
      learningRate,
      maxGradientNorm,
    });
    this.#info = { ...this.#info, steps: answer.steps ?? 0 };
    return { gradientNorm: answer.gradientNorm ?? 0 };
  }

  async copyReference(rate?: number): Promise<void> {
    await this.#compute('CopyReference', rate === undefined ? {} : { rate });
  }

  async publish(which: 'reference' | 'policy'): Promise<void> {
    await this.#compute('Publish', { policy: which === 'policy' });
  }

  /**
   * The same, and writes the weights as vLLM loads them: an adapter or a checkpoint.
   * @param folder below the trainer's own `--folder`
   * @returns where they are on the trainer's machine
   */
  async publishTo(folder: string, which: 'reference' | 'policy'): Promise<string> {
    const request = { policy: which === 'policy', folder };
    const answer = await this.#compute('Publish', request);
    return answer.folder ?? folder;
  }

  async exportPolicy(folder: string): Promise<void> {
    await this.publishTo(folder, 'policy');
  }

  async save(folder: string): Promise<void> {
    await this.#compute('Save', { folder });
  }

  async load(folder: string): Promise<void> {
    await this.#compute('Load', { folder, holder: this.#holder });
    await this.#askAgain();
  }

  async reset(): Promise<void> {
    await this.#compute('Reset', { holder: this.#holder });
    await this.#askAgain();
  }

  async #askAgain(): Promise<void> {
    const info = await this.#connection.call('GetInfo', {}, this.#deadline);
    this.#info = infoOf(info, this.#connection.address);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  #compute<M extends TrainerMethod>(
    method: M,
    request: Trainer[M]['request'],
  ): Promise<Trainer[M]['response']> {
    return this.#connection.call(method, request, this.#computing);
  }
}

function partlyAdded(cause: unknown, added: number, all: number): unknown {
  if (!(cause instanceof PmpoError)) return cause;
  return new PmpoError({
    ...cause.details,
    what: `${cause.details.what} (the gradient of the first ${added} of ${all} sequences had been added)`,
    remedy: 'Go on from the last checkpoint',
    cause,
  });
}
