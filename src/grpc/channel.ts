import * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, PmpoError } from '../core/errors.js';
import { connectionDefaults } from './connection-defaults.js';
import { diagnose } from './diagnose.js';
import { SecurityError } from './errors.js';
import type { Peer } from './peer.js';
import './quiet.js';
import { type ChannelSecurity, loadSecurity, type SecuritySettings } from './security.js';
import { statusCode } from './status.js';

export interface ChannelSettings extends SecuritySettings {
  /** host:port, or unix:/path */
  readonly address: string;
  /** How long connecting may take, and the answer to a sign of life. */
  readonly deadlineSeconds: number;
  /** Time between two signs of life on a connection that is silent. */
  readonly keepaliveSeconds?: number;
  /** Larger messages, either way, are an error. */
  readonly maxMessageMegabytes?: number;
  /** Aborted while connecting: nobody waits for the connection any more. */
  readonly signal?: AbortSignal;
}

/** A connection that stands. */
export interface Channel {
  readonly address: string;
  readonly client: grpc.Client;
  /** To be sent with each call: who asks. */
  readonly metadata: grpc.Metadata;
}

/** A closer look at a connection that failed may take this long. */
const diagnosisMs = 3000;

/**
 * Connects to a gRPC server, on an HTTP/2 connection of its own. Certificates and token are read anew each time.
 * @throws ConnectionLostError when nobody listens there within the deadline; PmpoError when trying again cannot help:
 *   certificates or tokens that are wrong, and servers that speak something else.
 */
export async function openChannel(settings: ChannelSettings, peer: Peer): Promise<Channel> {
  const { address, deadlineSeconds } = settings;
  const {
    keepaliveSeconds = connectionDefaults.keepaliveSeconds,
    maxMessageMegabytes = connectionDefaults.maxMessageMegabytes,
  } = settings;
  const security = await loadSecurity(settings, address, peer.configKey);
  const largest = maxMessageMegabytes * 2 ** 20;
  const client = new grpc.Client(address, security.credentials, {
    // Streams that share an HTTP/2 connection wait for each other.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': largest,
    'grpc.max_send_message_length': largest,
    'grpc.keepalive_time_ms': keepaliveSeconds * 1000,
    'grpc.keepalive_timeout_ms': deadlineSeconds * 1000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
    ...security.options,
  });
  try {
    await connected(client, settings, security, peer);
  } catch (error) {
    client.close();
    throw error;
  }
  return { address, client, metadata: security.metadata };
}

/**
 * Resolves when the connection stands. A refusal is an error at once: whether and when to try again is the caller's to
 * say; silence is one at the deadline. What is wrong for good is no ConnectionLostError.
 */
async function connected(
  client: grpc.Client,
  { address, deadlineSeconds, signal }: ChannelSettings,
  { tls }: ChannelSecurity,
  peer: Peer,
): Promise<void> {
  const channel = client.getChannel();
  const deadline = Date.now() + deadlineSeconds * 1000;
  const stop = new AbortController();
  const outcome = await new Promise<'ready' | 'refused' | 'late' | 'stopped'>((resolve) => {
    if (signal?.aborted) return resolve('stopped');
    signal?.addEventListener('abort', () => resolve('stopped'), { signal: stop.signal });
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === grpc.connectivityState.READY) return resolve('ready');
      if (state === grpc.connectivityState.TRANSIENT_FAILURE) return resolve('refused');
      channel.watchConnectivityState(state, deadline, (late) =>
        late === undefined ? look() : resolve('late'),
      );
    };
    look();
  });
  stop.abort();
  if (outcome === 'ready') return;
  if (outcome === 'stopped')
    throw new ConnectionLostError({ where: address, what: 'stopped while connecting' });
  const found = await diagnose(address, tls, Math.min(diagnosisMs, deadlineSeconds * 1000), peer);
  const where = address;
  if (found?.permanent) throw new SecurityError({ where, what: found.what, remedy: found.remedy });
  const waited = outcome === 'late' ? ` (waited ${deadlineSeconds} s)` : '';
  throw new ConnectionLostError({
    where,
    what: `${found?.what ?? 'nobody answers there'}${waited || (found === undefined ? ' (the connection was refused)' : '')}`,
    remedy: found?.remedy ?? `Start the server, or correct ${peer.configKey}.address`,
  });
}

/** A status with which a call ends and that another attempt would meet again; undefined for any other. */
export function refusal(
  address: string,
  { code, details }: Pick<grpc.ServiceError, 'code' | 'details'>,
  { configKey, protocol, server, smallerMessages }: Peer,
): PmpoError | undefined {
  const where = address;
  switch (code) {
    case statusCode('UNAUTHENTICATED'):
      return new SecurityError({
        where,
        what: `the server wants to know who asks: ${details}`,
        remedy: `Give the right token as ${configKey}.token: {file} or {environmentVariable}`,
      });
    case statusCode('PERMISSION_DENIED'):
      return new SecurityError({ where, what: `the server does not allow this: ${details}` });
    case statusCode('UNIMPLEMENTED'):
      return new PmpoError({
        where,
        what: `the server does not speak ${protocol} (${details})`,
        remedy: `Give the address of ${server}`,
      });
    case statusCode('RESOURCE_EXHAUSTED'):
      // The same status says that a server has too much to do, which passes.
      if (!/message.*(larger|size)/i.test(details)) return undefined;
      return new PmpoError({
        where,
        what: `a message is over the limit: ${details}`,
        remedy: `Raise ${configKey}.maxMessageMegabytes${smallerMessages === undefined ? '' : `, or ${smallerMessages}`}`,
      });
    default:
      return undefined;
  }
}
