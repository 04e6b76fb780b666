import { createRequire } from 'node:module';

/** The version in package.json; the path is the same from dist/ and from src/. */
export function packageVersion(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version;
}
