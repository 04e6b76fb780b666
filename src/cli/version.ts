import { createRequire } from 'node:module';

/** The version in package.json, from dist/ and from src/ alike. */
export function packageVersion(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
}
