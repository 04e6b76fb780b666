import { createHash, timingSafeEqual } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { PmpoError } from '../../core/errors.js';
import type { Environment } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { environmentService } from '../codec/messages.js';
import { sceneMetadataKey } from '../codec/scene-properties.js';
import type { Setting } from '../codec/tensors.js';
import type { HostedWorld } from './hosted-environment.js';
import { Session } from './session.js';

/** The environments to serve, and the address. */
export interface ServeEnvironmentsOptions {
  /**
   * Makes the environment of a new world from the settings of CreateWorld. If it throws, the client receives the error's message,
   * with the code INVALID_ARGUMENT for a PmpoError and INTERNAL for any other.
   */
  readonly createEnvironment: (settings: Readonly<Record<string, Setting>>) => Promise<Environment>;
  /** The interface to listen on; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0, the default, for a free port. */
  readonly port?: number;
  /** The server's certificates, and whether clients need one. By default connections are not encrypted. */
  readonly credentials?: grpc.ServerCredentials;
  /** The bearer token that clients must send. */
  readonly token?: string;
  /** Larger messages of clients are refused, before and after they are decompressed. Default: 4, as with most gRPC servers. */
  readonly maxMessageMegabytes?: number;
  /** The largest number of streams; a further one is refused at once. */
  readonly maxStreams?: number;
  /** Receives one line for each world that is created or closed. */
  readonly log?: (line: string) => void;
}

/** A running server. */
export interface EnvironmentServer {
  /** host:port */
  readonly address: string;
  readonly port: number;
  /** Ends all streams and closes all worlds. */
  close(): Promise<void>;
}

type Call = grpc.ServerDuplexStream<Buffer, wire.EnvironmentResponse>;

/**
 * The service with requests as bytes: gRPC itself would end a stream with a malformed request out of turn, before the requests
 * ahead of it are answered.
 */
const service: grpc.ServiceDefinition = {
  Process: { ...environmentService.Process, requestDeserialize: (bytes: Buffer) => bytes },
};
const parseRequest: (bytes: Buffer) => wire.EnvironmentRequest =
  environmentService.Process.requestDeserialize;

/** The requests of a stream that may wait for their answers before no more are read. */
const maxWaiting = 64;

/**
 * Serves environments over dm_env_rpc v1. There may be any number of streams, each in at most one world, and any number of
 * worlds, each with at most one stream. A world lives until it is destroyed, or until the stream that created it has ended and
 * no stream is in it. The setting `batchSize` of CreateWorld makes a world of several environments
 * (plugins/simulator-server/README.md describes it).
 *
 * @throws PmpoError if the server cannot listen on the address.
 */
export async function serveEnvironments({
  createEnvironment,
  host = '127.0.0.1',
  port = 0,
  credentials = grpc.ServerCredentials.createInsecure(),
  token,
  maxMessageMegabytes = 4,
  maxStreams = 1024,
  log = () => {},
}: ServeEnvironmentsOptions): Promise<EnvironmentServer> {
  const worlds = new Map<string, HostedWorld>();
  const server = new grpc.Server({
    'grpc.max_receive_message_length': Math.floor(maxMessageMegabytes * 2 ** 20),
    'grpc.max_send_message_length': -1,
  });
  const sessions = new Set<Promise<void>>();
  server.addService(service, {
    Process(call: Call) {
      if (token !== undefined && !carries(call.metadata, token)) {
        call.emit('error', {
          code: grpc.status.UNAUTHENTICATED,
          details: 'the bearer token is missing or wrong',
        });
        return;
      }
      if (sessions.size >= maxStreams) {
        const details = `this server has ${maxStreams} streams, the most it takes; close some`;
        call.emit('error', { code: grpc.status.RESOURCE_EXHAUSTED, details });
        return;
      }
      const metadata = new grpc.Metadata();
      metadata.set(sceneMetadataKey, '1');
      call.sendMetadata(metadata);
      const session = new Session(worlds, createEnvironment, log);
      const ended = serveStream(call, session).finally(() => sessions.delete(ended));
      sessions.add(ended);
    },
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, credentials, (cause, actual) => {
      if (cause === null) return resolve(actual);
      reject(
        new PmpoError({
          where: `${host}:${port}`,
          what: `cannot listen there: ${cause.message}`,
          remedy: 'Is another server using the port? Port 0 takes a free one',
          cause,
        }),
      );
    });
  });
  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    async close() {
      server.forceShutdown();
      await Promise.all(sessions);
      await Promise.all([...worlds.values()].map((world) => world.close()));
      worlds.clear();
    },
  };
}

function carries(metadata: grpc.Metadata, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  // Digests of equal length, compared in constant time, so that the time taken reveals nothing about the token.
  return timingSafeEqual(digest(String(metadata.get('authorization')[0] ?? '')), digest(`Bearer ${token}`));
}

function parsed(bytes: Buffer): wire.EnvironmentRequest | undefined {
  try {
    return parseRequest(bytes);
  } catch {
    return undefined;
  }
}

/** Answers a stream's requests one after the other, in order. Resolves when the stream has ended. */
function serveStream(call: Call, session: Session): Promise<void> {
  return new Promise((resolve) => {
    let queue: Promise<void> = Promise.resolve();
    let open = true;
    const finish = () => {
      if (!open) return;
      open = false;
      // A request that is still being answered uses the world.
      queue = queue.then(() => session.end());
      queue.then(resolve, resolve);
    };
    let waiting = 0;
    let isFull = false;
    // Without these pauses, a client that sends without reading would fill the memory.
    const flow = () => {
      if (waiting >= maxWaiting || isFull) call.pause();
      else call.resume();
    };
    call.on('drain', () => {
      isFull = false;
      flow();
    });
    call.on('data', (bytes: Buffer) => {
      waiting += 1;
      if (waiting >= maxWaiting) flow();
      queue = queue.then(async () => {
        const request = open ? parsed(bytes) : undefined;
        if (request !== undefined) {
          const response = await session.answer(request);
          if (open) isFull = !call.write(response);
        } else if (open) {
          const details = 'a message of the stream is not an EnvironmentRequest of dm_env_rpc';
          // Ends the stream after the answers that have been written.
          call.emit('error', { code: grpc.status.INVALID_ARGUMENT, details });
          finish();
        }
        waiting -= 1;
        if (waiting === maxWaiting - 1 || isFull) flow();
      });
    });
    call.on('end', () => {
      // The client sends no more. Its requests so far are answered first.
      queue = queue.then(() => {
        if (open) call.end();
        finish();
      });
    });
    call.on('cancelled', finish);
    call.on('error', finish);
    call.on('close', finish);
  });
}
