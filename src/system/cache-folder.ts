import { homedir } from 'node:os';
import { join } from 'node:path';

/** The folder for files that are expensive to make and are reused: $PMPO_CACHE, or `pmpo` in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.PMPO_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'pmpo');
}
