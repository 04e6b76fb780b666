/** The kinds of training jobs. */
export type JobKind = 'control' | 'language' | 'offline';

/** The kind of job that a configuration describes: language jobs have a `language` group, and offline jobs a `dataset`. */
export function jobKind(config: object): JobKind {
  if ('language' in config && config.language !== undefined) return 'language';
  return 'dataset' in config && config.dataset !== undefined ? 'offline' : 'control';
}
