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
  readScores,
  sequenceMessage,
  splitBySize,
} from './trainer-messages.js';

/** How to connect to a trainer: a service of proto/pmpo/v1/trainer.proto, such as plugins/torch-trainer. */
export interface TrainerClientOptions extends SecuritySettings {
  /** `host:port` of the trainer. */
  readonly address: string;
  /** Samples from the weights that the trainer publishes. The caller closes it. */
  readonly sampler: LanguageModel;
  /** Deadline of connecting and of calls that compute little; default: 30. */
  readonly deadlineSeconds?: number;
  /** Deadline of calls that compute or write files; default: 1800. */
  readonly computeSeconds?: number;
  /** A description of this run. While this client is open, the trainer refuses other holders with it; if omitted, others may train. */
  readonly holder?: string;
  readonly keepaliveSeconds?: number;
  /** The server's message limit: larger batches are split into several calls. Default: 64. */
  readonly maxMessageMegabytes?: number;
  /** The configuration key of these settings, for error messages; default: `language.trainer`. */
  readonly configKey?: string;
  /** Aborting it stops connecting. */
  readonly signal?: AbortSignal;
}

/**
 * Connects to a trainer.
 * @throws PmpoError if it cannot be reached or trusted, is used by another run, or has another vocabulary than the sampler's
 *   tokenizer.
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
    // Before GetInfo, so that the error names the run that uses the trainer.
    if (options.holder !== undefined) await connection.hold(options.holder, deadlineSeconds);
    const info = infoOf(await connection.call('GetInfo', {}, deadlineSeconds), address);
    if (info.vocabularyHash !== sampler.tokenizer.vocabularyHash) {
      throw new PmpoError({
        where: address,
        what: `its model (${info.name}) has another vocabulary than the sampler's tokenizer (${sampler.info.name})`,
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
      what: 'the trainer does not report the vocabulary or the context length of its model',
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

/** A connected trainer; see `openTrainer`. */
export class TrainerClient implements TrainableModel {
  readonly sampler: LanguageModel;
  readonly #connection: TrainerConnection;
  readonly #deadline: number;
  readonly #computeDeadline: number;
  readonly #maxMessageBytes: number;
  readonly #holder: string;
  #info: TrainableModelInfo;

  constructor(connection: TrainerConnection, info: TrainableModelInfo, options: TrainerClientOptions) {
    this.sampler = options.sampler;
    this.#connection = connection;
    this.#info = info;
    this.#holder = options.holder ?? '';
    this.#deadline = options.deadlineSeconds ?? 30;
    this.#computeDeadline = options.computeSeconds ?? 1800;
    this.#maxMessageBytes = (options.maxMessageMegabytes ?? connectionDefaults.maxMessageMegabytes) * 2 ** 20;
  }

  get info(): TrainableModelInfo {
    return this.#info;
  }

  async score(sequences: readonly TokenSequence[], what: ScoreParts): Promise<readonly SequenceScore[]> {
    const scores: SequenceScore[] = [];
    for (const { start, end } of splitBySize(sequences, this.#maxMessageBytes)) {
      const part = sequences.slice(start, end);
      const request = { sequences: part.map(sequenceMessage), ...what };
      const answer = await this.#compute('Score', request);
      const { policy, reference, kl, reverseKl } = what;
      const requested = { logProb: policy, referenceLogProb: reference, kl, reverseKl };
      scores.push(...readScores(answer.scores ?? [], part, requested, this.#connection.address));
    }
    return scores;
  }

  /**
   * See TrainableModel. A batch above the message limit is sent in parts, each of which adds its gradient.
   * @throws PmpoError; its message says if other parts had already added their gradients.
   */
  async forwardBackward(
    sequences: readonly TokenSequence[],
    coefficients: readonly SequenceCoefficients[],
  ): Promise<readonly SequenceScore[]> {
    checkCoefficients(sequences, coefficients);
    const scores: SequenceScore[] = [];
    for (const { start, end } of splitBySize(sequences, this.#maxMessageBytes)) {
      const part = sequences.slice(start, end);
      const own = coefficients.slice(start, end);
      const request = {
        sequences: part.map(sequenceMessage),
        coefficients: own.map(coefficientsMessage),
      };
      const has = (name: 'kl' | 'reverseKl') => own.some((entry) => entry[name] !== undefined);
      const requested = {
        logProb: true,
        referenceLogProb: false,
        kl: has('kl'),
        reverseKl: has('reverseKl'),
      };
      try {
        const answer = await this.#compute('ForwardBackward', request);
        scores.push(...readScores(answer.scores ?? [], part, requested, this.#connection.address));
      } catch (cause) {
        throw start === 0 ? cause : partialGradientError(cause, start, sequences.length);
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
   * Publishes the weights, and writes them as vLLM loads them: an adapter or a whole model.
   * @param folder a folder below the trainer's `--folder`
   * @returns the folder's path on the trainer's machine
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
    await this.#refreshInfo();
  }

  async reset(): Promise<void> {
    await this.#compute('Reset', { holder: this.#holder });
    await this.#refreshInfo();
  }

  async #refreshInfo(): Promise<void> {
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
    return this.#connection.call(method, request, this.#computeDeadline);
  }
}

function partialGradientError(cause: unknown, added: number, all: number): unknown {
  if (!(cause instanceof PmpoError)) return cause;
  return new PmpoError({
    ...cause.details,
    what: `${cause.details.what} (the gradient of the first ${added} of ${all} sequences had been added)`,
    remedy: 'Resume from the last checkpoint',
    cause,
  });
}
