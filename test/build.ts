import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

/** Builds the program if it is older than its sources: before the tests, and before they run again (`vitest watch`), because tests run its commands and its worker threads. */
export async function setup(project: TestProject): Promise<void> {
  const file = fileURLToPath(new URL('../scripts/bootstrap.mjs', import.meta.url));
  const { ensureBuilt } = (await import(file)) as { ensureBuilt(): void };
  ensureBuilt();
  project.onTestsRerun(async () => ensureBuilt());
}
