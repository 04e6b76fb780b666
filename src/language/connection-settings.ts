import type { ReconnectSettings } from '../core/backoff.js';
import { connectionDefaults } from '../grpc/connection-defaults.js';
import type { SecuritySettings } from '../grpc/security.js';

/** How servers of language and reward models are reached: what a configuration says of them. */
export interface ModelServerSettings extends SecuritySettings {
  /** host:port or unix:/path, one or several servers of the same model. */
  readonly address: string | readonly string[];
  /** How long one call may take, all of its answer included. */
  readonly deadlineSeconds?: number;
  /** Most calls under way at one address; the others wait their turn. */
  readonly inFlight?: number;
  /** Time between two signs of life on a connection that is silent. */
  readonly keepaliveSeconds?: number;
  /** Larger messages, either way, are an error. */
  readonly maxMessageMegabytes?: number;
  /** What happens to calls whose connection was lost. */
  readonly reconnect?: Partial<ReconnectSettings>;
}

/** Settings of a server that samples completions. */
export interface LanguageModelServerSettings extends ModelServerSettings {
  /** A folder with a tokenizer.json, or that file itself; absent: the server is asked for its own. */
  readonly tokenizer?: string;
}

export const modelServerDefaults = {
  deadlineSeconds: 300,
  inFlight: 64,
  keepaliveSeconds: connectionDefaults.keepaliveSeconds,
  maxMessageMegabytes: connectionDefaults.maxMessageMegabytes,
  // About three minutes: a server that loads a model again takes its time.
  reconnect: { attempts: 24, initialDelaySeconds: 0.25, maxDelaySeconds: 10 },
} as const;

/** Connecting takes no longer than this, however long the calls may take. */
const longestConnectSeconds = 20;

/** A server that is there says so within this time, however much it has to do. */
export const probeSeconds = 10;

type Resolved = Required<Omit<ModelServerSettings, 'address' | 'reconnect' | keyof SecuritySettings>> &
  SecuritySettings & {
    readonly addresses: readonly string[];
    readonly connectSeconds: number;
    readonly reconnect: ReconnectSettings;
  };

/** The settings with all that was left out. */
export function resolveSettings(settings: ModelServerSettings): Resolved {
  const defaults = modelServerDefaults;
  const deadlineSeconds = settings.deadlineSeconds ?? defaults.deadlineSeconds;
  const { address } = settings;
  return {
    addresses: typeof address === 'string' ? [address] : address,
    tls: settings.tls,
    token: settings.token,
    deadlineSeconds,
    connectSeconds: Math.min(deadlineSeconds, longestConnectSeconds),
    inFlight: settings.inFlight ?? defaults.inFlight,
    keepaliveSeconds: settings.keepaliveSeconds ?? defaults.keepaliveSeconds,
    maxMessageMegabytes: settings.maxMessageMegabytes ?? defaults.maxMessageMegabytes,
    reconnect: { ...defaults.reconnect, ...settings.reconnect },
  };
}
