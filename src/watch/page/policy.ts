import { env, InferenceSession, Tensor } from 'onnxruntime-web/wasm';

/** A policy that acts in the browser: an exported ONNX model, run by ONNX Runtime's WebAssembly build. */

let runtime: Promise<void> | undefined;

/** Loads ONNX Runtime once. */
function loadRuntime(): Promise<void> {
  runtime ??= fetchBytes('/onnxruntime.wasm').then((binary) => {
    env.wasm.wasmBinary = binary;
    // More threads would need a page that is isolated from all others, and such a small model gains nothing from them.
    env.wasm.numThreads = 1;
  });
  return runtime;
}

/** @throws if the server has not answered with the file */
async function fetchBytes(address: string): Promise<ArrayBuffer> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(await response.text());
  return response.arrayBuffer();
}

/** A policy. */
export class BrowserPolicy {
  readonly #session: InferenceSession;

  private constructor(session: InferenceSession) {
    this.#session = session;
  }

  /** @param address where the ONNX model is */
  static async load(address: string): Promise<BrowserPolicy> {
    const [model] = await Promise.all([fetchBytes(address), loadRuntime()]);
    return new BrowserPolicy(await InferenceSession.create(new Uint8Array(model)));
  }

  /** The mode of the policy, from −1 to 1 in each dimension, [A]. @param observation flat, [O] */
  async act(observation: Float32Array): Promise<Float32Array> {
    const input = new Tensor('float32', observation, [1, observation.length]);
    const { canonicalAction } = await this.#session.run({ observation: input }, ['canonicalAction']);
    return canonicalAction!.data as Float32Array;
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}
