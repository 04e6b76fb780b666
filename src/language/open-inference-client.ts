import { PmpoError } from '../core/errors.js';
import type { ModelInferResponse, ModelMetadataResponse } from '../generated/open-inference.js';
import { callUnary } from '../grpc/call.js';
import type { Channel } from '../grpc/channel.js';
import { channelPool } from '../grpc/channel-pool.js';
import { RefusedCallError } from '../grpc/errors.js';
import type { Peer } from '../grpc/peer.js';
import type { ServerPool } from '../grpc/server-pool.js';
import type { ServerSettings } from '../grpc/server-settings.js';
import { statusCode } from '../grpc/status.js';
import { type InputLayout, inputLayout, type Samples } from './open-inference-inputs.js';
import { isNumeric, readNumbers } from './open-inference-tensors.js';
import { inferenceService } from './services.js';

/** How to connect to a reward model. */
export interface OpenInferenceOptions extends ServerSettings {
  /** The model's name on the server. */
  readonly model: string;
  /** The model's version; if omitted, the server chooses. */
  readonly version?: string;
  /** The input for the samples, if the model has several. */
  readonly input?: string;
  /** The output with the scores, if the model has several. */
  readonly output?: string;
  /** Index of the score among the numbers for each sample, if the output has several. */
  readonly column?: number;
  /** Maximum number of samples in one call; default: 32. */
  readonly batchSize?: number;
  /** The token that pads shorter token lists of a batch; default: 0. Padding is masked. */
  readonly padToken?: number;
  /** The configuration key of these settings, for error messages; default: `language.reward`. */
  readonly configKey?: string;
}

export const openInferenceDefaults = { batchSize: 32, padToken: 0 } as const;

/**
 * A reward model or classifier on one or several servers of the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO): it
 * gives one number for each text or token list. A call that is lost with its connection is repeated.
 */
export class OpenInferenceClient {
  /** Whether the model takes texts or tokens. */
  readonly takes: 'texts' | 'tokens';
  readonly #pool: ServerPool<Channel>;
  readonly #layout: InputLayout;
  readonly #output: string;
  readonly #options: OpenInferenceOptions;
  readonly #peer: Peer;
  readonly #deadlineSeconds: number;

  private constructor(
    pool: ServerPool<Channel>,
    metadata: ModelMetadataResponse,
    where: string,
    options: OpenInferenceOptions,
    peer: Peer,
    deadlineSeconds: number,
  ) {
    const { batchSize, padToken } = { ...openInferenceDefaults, ...options };
    this.#layout = inputLayout(metadata, { where, input: options.input, batchSize, padToken });
    this.#output = chooseOutput(metadata, options.output, where);
    this.takes = this.#layout.takes;
    this.#pool = pool;
    this.#options = options;
    this.#peer = peer;
    this.#deadlineSeconds = deadlineSeconds;
  }

  /**
   * Connects to all addresses, and reads the model's inputs and outputs from its metadata.
   * @throws ConnectionLostError if an address cannot be reached; PmpoError if there is no such model, the addresses serve different
   *   models, or its inputs or outputs cannot be used.
   */
  static async connect(options: OpenInferenceOptions): Promise<OpenInferenceClient> {
    const peer: Peer = {
      configKey: options.configKey ?? 'language.reward',
      protocol: 'the Open Inference Protocol v2',
      server: 'a server of the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO)',
      smallerMessages: 'send less at once with batchSize',
    };
    const { model, version } = options;
    const { pool, addresses, connectSeconds, deadlineSeconds } = channelPool(
      options,
      peer,
      inferenceService().ServerLive,
    );
    try {
      const servers = await pool.connect();
      const described = await Promise.all(
        servers.map(async (server) => {
          const request = { name: model, version };
          const call = { deadlineSeconds: connectSeconds };
          return callUnary<ModelMetadataResponse>(
            server,
            inferenceService().ModelMetadata,
            request,
            peer,
            call,
          ).catch((error) => explainMissingModel(error, model, server.address));
        }),
      );
      const [metadata] = described;
      if (metadata === undefined)
        throw new PmpoError({ where: peer.configKey, what: 'the list of addresses is empty' });
      const facts = ({ inputs, outputs }: ModelMetadataResponse) => JSON.stringify([inputs, outputs]);
      const other = described.findIndex((one) => facts(one) !== facts(metadata));
      if (other >= 0) {
        throw new PmpoError({
          where: addresses[other],
          what: `the model '${model}' has other inputs or outputs than at ${addresses[0]}`,
          remedy: 'Serve the same model at every address',
        });
      }
      const where = `${addresses[0]}: the model '${model}'`;
      return new OpenInferenceClient(pool, metadata, where, options, peer, deadlineSeconds);
    } catch (error) {
      pool.close();
      throw error;
    }
  }

  /**
   * The scores of N samples, [N].
   * @param samples N texts or token lists, whichever the model `takes`.
   * @throws PmpoError if a score is missing or not finite, the output does not have one number for each sample, or the server refuses
   *   or stays unreachable.
   */
  async infer(samples: Samples, signal?: AbortSignal): Promise<Float32Array> {
    const scores = new Float32Array(samples.length);
    const batches = this.#layout.batches(samples);
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    try {
      await Promise.all(
        batches.map(async (batch) => {
          const found = await this.#pool.run(
            (server, stopped) => this.#inferBatch(server, samples, batch, stopped),
            stop.signal,
          );
          batch.forEach((sample, i) => {
            scores[sample] = found[i] ?? Number.NaN;
          });
        }),
      );
    } catch (error) {
      // The other batches are not needed any more.
      abort();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    return scores;
  }

  async #inferBatch(
    server: Channel,
    samples: Samples,
    batch: readonly number[],
    signal: AbortSignal,
  ): Promise<readonly number[]> {
    const { model, version } = this.#options;
    const request = {
      modelName: model,
      modelVersion: version,
      inputs: this.#layout.tensors(samples, batch),
      outputs: [{ name: this.#output }],
    };
    const call = { deadlineSeconds: this.#deadlineSeconds, signal };
    const response = await callUnary<ModelInferResponse>(
      server,
      inferenceService().ModelInfer,
      request,
      this.#peer,
      call,
    ).catch((error) => explainMissingModel(error, model, server.address));
    return this.#scores(response, batch, server.address);
  }

  #scores(response: ModelInferResponse, batch: readonly number[], address: string): readonly number[] {
    const { model, column } = this.#options;
    const where = `${address}: the model '${model}'`;
    const { modelName, outputs = [], rawOutputContents = [] } = response;
    if (modelName && modelName !== model) {
      throw new PmpoError({ where, what: `the answer comes from another model, '${modelName}'` });
    }
    const at = outputs.findIndex(({ name }) => name === this.#output);
    const output = outputs[at];
    if (output === undefined) {
      const given = outputs.map(({ name }) => name).join(', ') || 'none';
      throw new PmpoError({ where, what: `the answer has no output '${this.#output}'. It has ${given}` });
    }
    const numbers = readNumbers(output, rawOutputContents[at], where);
    const { shape = [] } = output;
    const width = numbers.length / batch.length;
    if (shape[0] !== batch.length || !Number.isInteger(width) || width === 0) {
      throw new PmpoError({
        where,
        what: `the output '${this.#output}' has the shape [${shape.join(', ')}] for ${batch.length} samples`,
        remedy: `It must have one number for each: [${batch.length}] or [${batch.length}, 1]`,
      });
    }
    if (column === undefined ? width > 1 : column >= width) {
      throw new PmpoError({
        where,
        what: `the output '${this.#output}' has ${width} numbers for each sample${column === undefined ? '' : `, but no number ${column}`}`,
        remedy: `Set ${this.#peer.configKey}.column to the index of the score, 0 to ${width - 1}`,
      });
    }
    return batch.map((sample, i) => {
      const score = numbers[i * width + (column ?? 0)] ?? Number.NaN;
      if (Number.isFinite(score)) return score;
      throw new PmpoError({ where, what: `the score of sample ${sample} is ${score}` });
    });
  }

  /** Stops running calls and closes the connections. */
  async close(): Promise<void> {
    this.#pool.close();
  }
}

function chooseOutput(
  { outputs = [] }: ModelMetadataResponse,
  wanted: string | undefined,
  where: string,
): string {
  const numeric = outputs.filter(({ datatype = '' }) => isNumeric(datatype));
  const candidates = wanted === undefined ? numeric : numeric.filter(({ name }) => name === wanted);
  const [found] = candidates;
  if (found?.name !== undefined && candidates.length === 1) return found.name;
  const list = outputs.map(({ name, datatype }) => `${name} (${datatype})`).join(', ') || 'none';
  throw new PmpoError({
    where,
    what:
      wanted === undefined
        ? `it is not clear which of its outputs has the scores. It has ${list}`
        : `it has no numeric output '${wanted}'. It has ${list}`,
    remedy:
      outputs.length === 0
        ? "Declare the model's inputs and outputs on the server (MLServer: in model-settings.json)"
        : 'Set `output` to the name of a numeric one',
  });
}

function explainMissingModel(error: unknown, model: string, where: string): never {
  // Some servers report a missing model with another status, and a message like these.
  const unknown = (message: string) => /unknown model|model .*not found/i.test(message);
  if (
    error instanceof RefusedCallError &&
    (error.code === statusCode('NOT_FOUND') || unknown(error.serverMessage))
  ) {
    throw new PmpoError({
      where,
      what: `there is no model '${model}': ${error.serverMessage}`,
      remedy: "Correct its name or version, or load it (the server's log lists its models)",
      cause: error,
    });
  }
  throw error;
}
