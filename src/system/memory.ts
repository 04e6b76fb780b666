import { totalmem } from 'node:os';

/** The bytes of memory that this process may have: those of the machine, or of its container if that has a limit. */
export function machineMemory(): number {
  // 0 or a huge number if there is no limit.
  const limit = process.constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}
