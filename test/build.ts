import { fileURLToPath } from 'node:url';

/** Builds the program before the tests if it is older than its sources, because tests run its commands and its worker threads. */
export async function setup(): Promise<void> {
  const file = fileURLToPath(new URL('../scripts/bootstrap.mjs', import.meta.url));
  const { ensureBuilt } = (await import(file)) as { ensureBuilt(): void };
  ensureBuilt();
}
