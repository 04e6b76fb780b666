import type { ReconnectSettings } from '../core/backoff.js';
import { connectionDefaults } from './connection-defaults.js';
import type { SecuritySettings } from './security.js';

/** Connection settings of servers that answer single calls: language models, reward models, feedback classifiers. */
export interface ServerSettings extends SecuritySettings {
  /** `host:port` or `unix:/path` of one server, or of several that serve the same. */
  readonly address: string | readonly string[];
  /** Maximum duration of one call, including its whole answer; default: 300. */
  readonly deadlineSeconds?: number;
  /** Maximum number of concurrent calls to one address; the others wait. Default: 64. */
  readonly inFlight?: number;
  /** Interval of keepalive pings on an idle connection; default: 310. */
  readonly keepaliveSeconds?: number;
  /** Maximum message size in both directions; default: 64. */
  readonly maxMessageMegabytes?: number;
  /** How calls are retried when their connection is lost; default: 24 attempts, 0.25 s doubled up to 10 s. */
  readonly reconnect?: Partial<ReconnectSettings>;
}

export const serverDefaults = {
  deadlineSeconds: 300,
  inFlight: 64,
  keepaliveSeconds: connectionDefaults.keepaliveSeconds,
  maxMessageMegabytes: connectionDefaults.maxMessageMegabytes,
  // About three minutes: enough for a server to restart and load its model.
  reconnect: { attempts: 24, initialDelaySeconds: 0.25, maxDelaySeconds: 10 },
} as const;

/** Maximum duration of connecting, whatever the deadline of calls. */
const maxConnectSeconds = 20;

/** Even a busy server answers a probe within this time. */
export const probeSeconds = 10;

type Resolved = Required<Omit<ServerSettings, 'address' | 'reconnect' | keyof SecuritySettings>> &
  SecuritySettings & {
    readonly addresses: readonly string[];
    readonly connectSeconds: number;
    readonly reconnect: ReconnectSettings;
  };

/** The settings with defaults filled in. */
export function resolveSettings(settings: ServerSettings): Resolved {
  const defaults = serverDefaults;
  const deadlineSeconds = settings.deadlineSeconds ?? defaults.deadlineSeconds;
  const { address } = settings;
  return {
    addresses: typeof address === 'string' ? [address] : address,
    tls: settings.tls,
    token: settings.token,
    deadlineSeconds,
    connectSeconds: Math.min(deadlineSeconds, maxConnectSeconds),
    inFlight: settings.inFlight ?? defaults.inFlight,
    keepaliveSeconds: settings.keepaliveSeconds ?? defaults.keepaliveSeconds,
    maxMessageMegabytes: settings.maxMessageMegabytes ?? defaults.maxMessageMegabytes,
    reconnect: { ...defaults.reconnect, ...settings.reconnect },
  };
}
