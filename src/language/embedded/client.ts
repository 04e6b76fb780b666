import { VllmClient } from '../vllm-client.js';

/** A server in this process cannot be lost, and what waits in its line waits for no longer than the work before it takes. */
const deadlineSeconds = 24 * 3600;

/** The client of an embedded model's server. Its line is as long as that of all who ask: the server shares out its slots. */
export function connectEmbedded(address: string, configKey: string): Promise<VllmClient> {
  return VllmClient.connect({ address, inFlight: 256, deadlineSeconds, configKey });
}
