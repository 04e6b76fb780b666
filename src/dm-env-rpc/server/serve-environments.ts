import { createHash, timingSafeEqual } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { PmpoError } from '../../core/errors.js';
import type { Environment } from '../../environments/environment.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { environmentService } from '../codec/messages.js';
import type { Setting } from '../codec/tensors.js';
import type { HostedWorld } from './hosted-environment.js';
import { Session } from './session.js';

export interface ServeEnvironmentsOptions {
  /**
   * Makes the environment of a new world from CreateWorld's settings.
   * What it throws is the client's answer, with the code INVALID_ARGUMENT.
   */
  readonly createEnvironment: (settings: Readonly<Record<string, Setting>>) => Promise<Environment>;
  /** The interface to listen on; 127.0.0.1 by default. */
  readonly host?: string;
  /** 0, the default, for a free one. */
  readonly port?: number;
  /** Certificates, and whether clients need some; by default the channel is in the clear. */
  readonly credentials?: grpc.ServerCredentials;
  /** The bearer token that clients must send. */
  readonly token?: string;
  /** Told one line for each world that comes and goes. */
  readonly log?: (line: string) => void;
}

export interface EnvironmentServer {
  /** host:port */
  readonly address: string;
  readonly port: number;
  /** Ends all streams and closes all worlds. */
  close(): Promise<void>;
}

type Call = grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>;

/**
 * Hosts environments as a dm_env_rpc v1 server: any number of streams, each an agent in one world at most; any number of
 * worlds, each with one agent at most. A world lives until it is destroyed, or until the stream that made it has ended and
 * nobody is in it.
 *
 * @throws PmpoError when the address cannot be listened on.
 */
export async function serveEnvironments({
  createEnvironment,
  host = '127.0.0.1',
  port = 0,
  credentials = grpc.ServerCredentials.createInsecure(),
  token,
  log = () => {},
}: ServeEnvironmentsOptions): Promise<EnvironmentServer> {
  const worlds = new Map<string, HostedWorld>();
  const server = new grpc.Server({
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const sessions = new Set<Promise<void>>();
  server.addService(environmentService, {
    Process(call: Call) {
      if (token !== undefined && !carries(call.metadata, token)) {
        call.emit('error', {
          code: grpc.status.UNAUTHENTICATED,
          details: 'the bearer token is missing or wrong',
        });
        return;
      }
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
  // Of the same length and compared in constant time: how long it takes tells nothing.
  return timingSafeEqual(digest(String(metadata.get('authorization')[0] ?? '')), digest(`Bearer ${token}`));
}

/** Answers a stream's requests one after the other, in their order. Resolves when the stream has ended. */
function serveStream(call: Call, session: Session): Promise<void> {
  return new Promise((resolve) => {
    let queue: Promise<void> = Promise.resolve();
    let open = true;
    const finish = () => {
      if (!open) return;
      open = false;
      // A request under way still uses the world.
      queue = queue.then(() => session.end());
      queue.then(resolve, resolve);
    };
    call.on('data', (request: wire.EnvironmentRequest) => {
      queue = queue.then(async () => {
        const response = await session.answer(request);
        if (open) call.write(response);
      });
    });
    call.on('end', () => {
      queue = queue.then(() => {
        if (open) call.end();
      });
      finish();
    });
    call.on('cancelled', finish);
    call.on('error', finish);
    call.on('close', finish);
  });
}
