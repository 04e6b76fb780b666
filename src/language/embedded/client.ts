import { VllmClient } from '../vllm-client.js';

/** Practically no deadline: the server cannot be lost in this process, and requests wait only for earlier requests. */
const deadlineSeconds = 24 * 3600;

/** Connects to the server of an embedded model. Many requests may be in flight, because the server schedules them itself. */
export function connectEmbedded(address: string, configKey: string): Promise<VllmClient> {
  return VllmClient.connect({ address, inFlight: 256, deadlineSeconds, configKey });
}
