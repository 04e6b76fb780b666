/**
 * `pmpo/dm-env-rpc`: a client and a server of dm_env_rpc v1 (github.com/google-deepmind/dm_env_rpc), to use and serve environments
 * of `pmpo/environments` over gRPC.
 */

export { ConnectionLostError } from '../core/errors.js';
export type { ChannelSettings } from '../grpc/channel.js';
export { SecurityError } from '../grpc/errors.js';
export type { SecuritySettings, TlsFiles, TokenSource } from '../grpc/security.js';
export type { ConnectionOptions } from './client/connection.js';
export {
  type Property,
  RemoteEnvironment,
  type RemoteEnvironmentOptions,
} from './client/remote-environment.js';
export type { RemoteWorldOptions } from './client/remote-world.js';
export { connectOverSharedStreams, type SharedStreamsOptions } from './client/shared-streams.js';
export type { PlainSettings, SettingValue, TypedSetting } from './codec/settings.js';
export type { Setting } from './codec/tensors.js';
export { DmEnvRpcError } from './errors.js';
export {
  type EnvironmentServer,
  type ServeEnvironmentsOptions,
  serveEnvironments,
} from './server/serve-environments.js';
