import type { ReconnectSettings } from '../core/backoff.js';
import { connectionDefaults } from '../grpc/connection-defaults.js';
import type { SecuritySettings } from '../grpc/security.js';

/** Connection settings of servers of language models and reward models. */
export interface ModelServerSettings extends SecuritySettings {
  /** `host:port` or `unix:/path` of one server, or of several that serve the same model. */
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

/** Connection settings of a server that samples completions. */
export interface LanguageModelServerSettings extends ModelServerSettings {
  /** A tokenizer.json, or the folder with that file. If omitted, the server's own tokenizer is fetched. */
  readonly tokenizer?: string;
}

export const modelServerDefaults = {
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

type Resolved = Required<Omit<ModelServerSettings, 'address' | 'reconnect' | keyof SecuritySettings>> &
  SecuritySettings & {
    readonly addresses: readonly string[];
    readonly connectSeconds: number;
    readonly reconnect: ReconnectSettings;
  };

/** The settings with defaults filled in. */
export function resolveSettings(settings: ModelServerSettings): Resolved {
  const defaults = modelServerDefaults;
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
