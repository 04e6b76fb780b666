import type { Environment } from '../../environments/environment.js';
import { WorldBatch } from './remote-batch.js';
import { RemoteEnvironment, type RemoteEnvironmentOptions } from './remote-environment.js';

export interface BatchedConnectOptions {
  /** K, the worlds in all. */
  readonly size: number;
  /** N, those on one stream; the last one has what is left. */
  readonly envsPerStream: number;
  /** How stream number `stream` connects. */
  readonly optionsOf: (stream: number) => RemoteEnvironmentOptions;
}

/**
 * How each of K worlds is connected to, N on one stream: world k is simulator k mod N of stream ⌊k / N⌋. The worlds of a
 * stream share a connection, which the first of them to ask for it makes and the last one to be closed ends. When it is lost
 * it is lost to all of them; those who ask again share the next.
 * @returns the `connect` that createVectorEnvironment takes.
 */
export function batchedConnect({
  size,
  envsPerStream,
  optionsOf,
}: BatchedConnectOptions): (world: number, signal?: AbortSignal) => Promise<Environment> {
  const streams = Array.from({ length: Math.ceil(size / envsPerStream) }, (_, stream) => {
    const members = Math.min(envsPerStream, size - stream * envsPerStream);
    // Alone on its stream, a world is what every server offers.
    if (members === 1) {
      return (_: number, signal?: AbortSignal) => RemoteEnvironment.connect({ ...optionsOf(stream), signal });
    }
    return shared((signal) => WorldBatch.connect({ ...optionsOf(stream), signal }, members));
  });
  return (world, signal) => streams[Math.floor(world / envsPerStream)](world % envsPerStream, signal);
}

/** A connection, and those who use it or wait for it. */
interface Shared {
  readonly opening: Promise<WorldBatch>;
  batch?: WorldBatch;
  readonly members: Set<number>;
}

function shared(open: (signal?: AbortSignal) => Promise<WorldBatch>) {
  let current: Shared | undefined;
  return async (member: number, signal?: AbortSignal): Promise<Environment> => {
    if (current === undefined || current.batch?.isLost)
      current = { opening: open(signal), members: new Set() };
    const own = current;
    own.members.add(member);
    try {
      own.batch = await own.opening;
    } catch (error) {
      // The next one who asks tries again.
      if (current === own) current = undefined;
      throw error;
    }
    return own.batch.environment(member, async () => {
      own.members.delete(member);
      if (own.members.size > 0) return;
      if (current === own) current = undefined;
      await own.batch!.close();
    });
  };
}
