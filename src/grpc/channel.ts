import * as grpc from '@grpc/grpc-js';
import { ConnectionLostError, PmpoError } from '../core/errors.js';
import { foreignText } from '../core/foreign-text.js';
import { connectionDefaults } from './connection-defaults.js';
import { diagnose } from './diagnose.js';
import { SecurityError } from './errors.js';
import type { Peer } from './peer.js';
import './quiet.js';
import { type ChannelSecurity, isLocal, loadSecurity, type SecuritySettings } from './security.js';
import { statusCode } from './status.js';

/** How to reach a gRPC server. */
export interface ChannelSettings extends SecuritySettings {
  /** host:port, or unix:/path */
  readonly address: string;
  /** The time that connecting may take, and the response to a keepalive ping. */
  readonly deadlineSeconds: number;
  /** The time between two keepalive pings on an idle connection; default: 310. */
  readonly keepaliveSeconds?: number;
  /** The size limit of messages, in both directions; default: 64. */
  readonly maxMessageMegabytes?: number;
  /** Aborts connecting. */
  readonly signal?: AbortSignal;
}

/** An open connection. */
export interface Channel {
  readonly address: string;
  readonly client: grpc.Client;
  /** The metadata to send with each call: the bearer token, if any. */
  readonly metadata: grpc.Metadata;
}

/** The longest time for the diagnosis of a failed connection. */
const diagnosisMs = 3000;

/**
 * Connects to a gRPC server, over a separate HTTP/2 connection. Certificates and token are read each time.
 * @throws ConnectionLostError if no server listens there within the deadline; SecurityError or PmpoError if another attempt
 *   cannot succeed: wrong certificates or tokens, or a server of another protocol.
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
    // Streams that share an HTTP/2 connection delay each other.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_receive_message_length': largest,
    'grpc.max_send_message_length': largest,
    'grpc.keepalive_time_ms': keepaliveSeconds * 1000,
    'grpc.keepalive_timeout_ms': deadlineSeconds * 1000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 1000,
    // gRPC would send even this to the proxy, which cannot reach this machine, and would read the token.
    ...(isLocal(address) ? { 'grpc.enable_http_proxy': 0 } : {}),
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
 * Resolves when the client is connected. A refused connection is an error at once, since the caller decides about further
 * attempts; a silent server is one at the deadline. Problems that another attempt cannot solve are SecurityErrors.
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
  const proxy = proxyVariable(address);
  const way = proxy === undefined ? '' : ` through the proxy of ${proxy}`;
  const waited = outcome === 'late' ? ` (waited ${deadlineSeconds} s)` : '';
  throw new ConnectionLostError({
    where,
    what: `${found?.what ?? 'no server answers there'}${way}${waited || (found === undefined ? ' (the connection was refused)' : '')}`,
    remedy:
      found?.remedy ??
      `Start the server, or correct ${peer.configKey}.address${proxy === undefined ? '' : ', or name the host in no_proxy'}`,
  });
}

/** The environment variable of the proxy through which gRPC reaches an address, if any; gRPC reads the same ones. */
function proxyVariable(address: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  if (isLocal(address)) return undefined;
  const host = address.slice(0, address.lastIndexOf(':'));
  const exempt = (env.no_grpc_proxy || env.no_proxy || '').split(',');
  if (exempt.some((ending) => ending !== '' && host.endsWith(ending))) return undefined;
  return ['grpc_proxy', 'https_proxy', 'http_proxy'].find((name) => env[name]);
}

/** The error for a status that another attempt would end with again; undefined for any other status. */
export function refusal(
  address: string,
  { code, details: text }: Pick<grpc.ServiceError, 'code' | 'details'>,
  { configKey, protocol, server, smallerMessages }: Peer,
): PmpoError | undefined {
  const where = address;
  const details = foreignText(text);
  switch (code) {
    case statusCode('UNAUTHENTICATED'):
      return new SecurityError({
        where,
        what: `the server requires authentication: ${details}`,
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
      // The same status is used by an overloaded server, where another attempt may succeed.
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
