import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where what is made once and used again is kept: $PMPO_CACHE, or `pmpo` in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.PMPO_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pmpo');
}
