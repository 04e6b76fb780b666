/** The words that messages use for a server. */
export interface Peer {
  /** The configuration key of its settings: `environment`, `language.sampler`. */
  readonly configKey: string;
  /** Its protocol: `dm_env_rpc v1`. */
  readonly protocol: string;
  /** Such a server, with its article: `a dm_env_rpc server`. */
  readonly server: string;
  /** The remedy when a message is too large: `ask for fewer completions at once`. */
  readonly smallerMessages?: string;
}
