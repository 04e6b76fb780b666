import type { Environment } from '../../environments/environment.js';
import { RemoteBatch } from './remote-batch.js';
import { RemoteEnvironment, type RemoteEnvironmentOptions } from './remote-environment.js';

/** How K environments are spread over streams. */
export interface SharedStreamsOptions {
  /** K, the number of environments. */
  readonly numEnvs: number;
  /** N, the number of environments on one stream; the last stream may have fewer. */
  readonly envsPerStream: number;
  /** How stream number `stream` connects. */
  readonly optionsOf: (stream: number) => RemoteEnvironmentOptions;
}

/**
 * Connects K environments over shared streams, N to a stream: environment k is simulator k mod N of stream ⌊k / N⌋. The first
 * environment of a stream to connect opens it, and the last one to close ends it. A lost stream is lost to all of its
 * environments, and the next one is shared by those that connect again. Streams of several environments need a server with the
 * setting `batchSize` (ours have it).
 * @returns the `connect` option of `createVectorEnvironment`; what it throws is described at RemoteEnvironment.connect.
 */
export function connectOverSharedStreams({
  numEnvs,
  envsPerStream,
  optionsOf,
}: SharedStreamsOptions): (index: number, signal?: AbortSignal) => Promise<Environment> {
  const streams = Array.from({ length: Math.ceil(numEnvs / envsPerStream) }, (_, stream) => {
    const members = Math.min(envsPerStream, numEnvs - stream * envsPerStream);
    // A single environment works with any dm_env_rpc server.
    if (members === 1) {
      return (_: number, signal?: AbortSignal) => RemoteEnvironment.connect({ ...optionsOf(stream), signal });
    }
    return sharedStream((signal) => RemoteBatch.connect({ ...optionsOf(stream), signal }, members));
  });
  return (index, signal) => streams[Math.floor(index / envsPerStream)](index % envsPerStream, signal);
}

/** A connection, and the environments that use it or wait for it. */
interface SharedConnection {
  readonly opening: Promise<RemoteBatch>;
  batch?: RemoteBatch;
  readonly members: Set<number>;
}

function sharedStream(open: (signal?: AbortSignal) => Promise<RemoteBatch>) {
  let current: SharedConnection | undefined;
  return async (member: number, signal?: AbortSignal): Promise<Environment> => {
    if (current === undefined || current.batch?.isLost)
      current = { opening: open(signal), members: new Set() };
    const own = current;
    own.members.add(member);
    try {
      own.batch = await own.opening;
    } catch (error) {
      // The next environment to connect makes another attempt.
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
