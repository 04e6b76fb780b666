import { PmpoError } from '../core/errors.js';
import type { ModelInferResponse, ModelMetadataResponse } from '../generated/open-inference.js';
import { callUnary } from '../grpc/call.js';
import { type Channel, openChannel } from '../grpc/channel.js';
import { RefusedCallError } from '../grpc/errors.js';
import type { Peer } from '../grpc/peer.js';
import { ServerPool } from '../grpc/server-pool.js';
import { statusCode } from '../grpc/status.js';
import { type ModelServerSettings, probeSeconds, resolveSettings } from './connection-settings.js';
import { type InputLayout, inputLayout, type Samples } from './open-inference-inputs.js';
import { isNumeric, readNumbers } from './open-inference-tensors.js';
import { inferenceService } from './services.js';

export interface OpenInferenceOptions extends ModelServerSettings {
  /** The model's name at the server. */
  readonly model: string;
  /** Absent: the server chooses. */
  readonly version?: string;
  /** The input that takes the samples, where the model has several. */
  readonly input?: string;
  /** The output that holds the scores, where the model has several. */
  readonly output?: string;
  /** Which of the numbers that the output has for each sample is the score, from 0. */
  readonly column?: number;
  /** Most samples sent at once. */
  readonly batchSize?: number;
  /** Fills up token lists that are shorter than others of their batch; masked where the model takes a mask. */
  readonly padToken?: number;
  /** Where these settings stand in the configuration, for messages; default: `language.reward`. */
  readonly configKey?: string;
}

export const openInferenceDefaults = { batchSize: 32, padToken: 0 } as const;

/**
 * A reward model or a classifier behind the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO), on one or
 * several machines: texts or tokens in, one number each out. Calls that were lost with their connection are made again.
 */
export class OpenInferenceClient {
  /** What the model reads. */
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
   * Connects to all addresses, and asks the first what the model takes and gives.
   * @throws ConnectionLostError when one cannot be reached; PmpoError when there is no such model, it is not ready, or what it takes
   *   or gives is of no use.
   */
  static async connect(options: OpenInferenceOptions): Promise<OpenInferenceClient> {
    const peer: Peer = {
      configKey: options.configKey ?? 'language.reward',
      protocol: 'the Open Inference Protocol v2',
      server: 'a server of the Open Inference Protocol v2 (Triton, KServe, MLServer, OpenVINO)',
      smallerMessages: 'send less at once with batchSize',
    };
    const { model, version } = options;
    const { addresses, connectSeconds, deadlineSeconds, inFlight, reconnect, ...channel } =
      resolveSettings(options);
    const pool = new ServerPool<Channel>({
      addresses,
      inFlight,
      reconnect,
      peer,
      open: (address) => openChannel({ ...channel, address, deadlineSeconds: connectSeconds }, peer),
      close: ({ client }) => client.close(),
      probe: (server) =>
        callUnary(server, inferenceService.ServerLive, {}, peer, { deadlineSeconds: probeSeconds }),
    });
    try {
      const servers = await pool.connect();
      const described = await Promise.all(
        servers.map(async (server) => {
          const request = { name: model, version };
          const call = { deadlineSeconds: connectSeconds };
          return callUnary<ModelMetadataResponse>(
            server,
            inferenceService.ModelMetadata,
            request,
            peer,
            call,
          ).catch((error) => noSuchModel(error, model, server.address));
        }),
      );
      const [metadata] = described;
      if (metadata === undefined) throw new PmpoError({ where: peer.configKey, what: 'there is no address' });
      const facts = ({ inputs, outputs }: ModelMetadataResponse) => JSON.stringify([inputs, outputs]);
      const other = described.findIndex((one) => facts(one) !== facts(metadata));
      if (other >= 0) {
        throw new PmpoError({
          where: addresses[other],
          what: `the model '${model}' takes or gives other tensors there than at ${addresses[0]}`,
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
   * The score of each sample, [N].
   * @param samples texts or token lists, as the model `takes`
   * @throws PmpoError when a score is missing or not finite, an output is of another shape than one number for each sample, the server
   *   refuses, or is lost for longer than is tried again.
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
      // The other batches are of no use any more.
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
      inferenceService.ModelInfer,
      request,
      this.#peer,
      call,
    ).catch((error) => noSuchModel(error, model, server.address));
    return this.#scores(response, batch, server.address);
  }

  #scores(response: ModelInferResponse, batch: readonly number[], address: string): readonly number[] {
    const { model, column } = this.#options;
    const where = `${address}: the model '${model}'`;
    const { modelName, outputs = [], rawOutputContents = [] } = response;
    if (modelName && modelName !== model) {
      throw new PmpoError({ where, what: `the answer is of another model, '${modelName}'` });
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
        remedy: `It must hold one number for each: [${batch.length}] or [${batch.length}, 1]`,
      });
    }
    if (column === undefined ? width > 1 : column >= width) {
      throw new PmpoError({
        where,
        what: `the output '${this.#output}' has ${width} numbers for each sample${column === undefined ? '' : `, and none numbered ${column}`}`,
        remedy: `Say which one is the score with ${this.#peer.configKey}.column, from 0 to ${width - 1}`,
      });
    }
    return batch.map((sample, i) => {
      const score = numbers[i * width + (column ?? 0)] ?? Number.NaN;
      if (Number.isFinite(score)) return score;
      throw new PmpoError({ where, what: `the score of sample ${sample} is ${score}` });
    });
  }

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
        ? `which of its outputs holds the scores? It has ${list}`
        : `it has no output '${wanted}' of numbers. It has ${list}`,
    remedy:
      outputs.length === 0
        ? "Declare the model's inputs and outputs at the server (MLServer: in model-settings.json)"
        : 'Name one that holds numbers as `output`',
  });
}

function noSuchModel(error: unknown, model: string, where: string): never {
  // Some servers say so with another status, in words like these.
  const unknown = (message: string) => /unknown model|model .*not found/i.test(message);
  if (
    error instanceof RefusedCallError &&
    (error.code === statusCode('NOT_FOUND') || unknown(error.serverMessage))
  ) {
    throw new PmpoError({
      where,
      what: `there is no model '${model}': ${error.serverMessage}`,
      remedy: "Correct its name or version, or load it (the server's log says which it has)",
      cause: error,
    });
  }
  throw error;
}
