import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { stringify } from 'yaml';
import { runProgram } from '../../src/cli/program.js';

/** Training runs as a person starts them, in this process. */

/** The configuration of a run of a few seconds, on another server. */
export function smallRun(output: string, environment: Record<string, unknown>) {
  return {
    output,
    environment: { numEnvs: 2, deadlineSeconds: 5, reconnect: { attempts: 2 }, ...environment },
    policy: { hidden: [8] },
    critic: { hidden: [8] },
    learner: { environmentSteps: 200, warmupSteps: 50, batchSize: 16, stepsPerUpdate: 8 },
    replay: { capacity: 1000 },
    evaluation: { every: 200, episodes: 1 },
    checkpoint: { every: 200 },
  };
}

/** A folder for one test file. */
export async function folderFor(name: string): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), `pmpo-${name}-`));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Trains, from a file written to `folder`; returns the exit code and all output. */
export async function train(
  folder: string,
  config: Record<string, unknown>,
  args: readonly string[] = ['--quiet'],
): Promise<{ readonly code: number; readonly said: string }> {
  const file = join(folder, 'pmpo.yaml');
  await writeFile(file, stringify(config));
  return pmpo('train', file, ...args);
}

/** Runs the program in this process; returns the exit code and all output. */
export async function pmpo(
  ...args: readonly string[]
): Promise<{ readonly code: number; readonly said: string }> {
  let said = '';
  const hear = (text: unknown) => {
    said += String(text);
    return true;
  };
  const streams = [process.stdout, process.stderr].map((s) => vi.spyOn(s, 'write').mockImplementation(hear));
  try {
    return { code: await runProgram([...args]), said };
  } finally {
    for (const stream of streams) stream.mockRestore();
  }
}
