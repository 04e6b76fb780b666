/** What a server is called in messages, and where a person sets how it is reached. */
export interface Peer {
  /** The key of its settings in a configuration: `environment`, `language.sampler`. */
  readonly configKey: string;
  /** What is spoken with it: `dm_env_rpc v1`. */
  readonly protocol: string;
  /** One such server, with its article: `a dm_env_rpc server`. */
  readonly server: string;
  /** How less may be asked for, where a message is too large. */
  readonly smallerMessages?: string;
}
