import { mkdir } from 'node:fs/promises';
import { startEmbeddedServer } from '../../simulators/embedded-server.js';
import { planStudy } from './plan.js';
import { type Provenance, writeResults } from './results.js';
import { type RunStudyOptions, type RunStudyResult, runStudy } from './run-study.js';
import type { Study } from './schema.js';

export interface MakeStudyOptions extends Pick<RunStudyOptions, 'jobs' | 'signal' | 'say'> {
  readonly study: Study;
  /** The study's file, for messages. */
  readonly file: string;
  readonly scale: string;
  /** The study's own folder. */
  readonly folder: string;
  /** A server that is there already. */
  readonly address?: string;
  /** Starts runs; `extra` are arguments that every resumed one needs. */
  readonly launch: (extra: readonly string[]) => RunStudyOptions['launch'];
  readonly provenance: Provenance;
}

export interface MadeStudy extends RunStudyResult {
  /** Figures and tables. */
  readonly files: readonly string[];
}

/** Starts the server that a study asks for. */
async function startServer({ server }: Study, say: (line: string) => void) {
  if (server === 'none') return { address: undefined, close: async () => {} };
  if (server === 'embedded') return startEmbeddedServer({ onCrash: (error) => say(error.message) });
  const { startPythonServer } = await import('../../python/simulator-server.js');
  return startPythonServer({ kind: server, port: 0, say });
}

/**
 * Makes a study's runs at a scale, as far as they are not made yet, and draws what they came to after each.
 * @throws ConfigError when study, scale or a configuration is wrong; PmpoError when the simulators' server does not start.
 */
export async function makeStudy(options: MakeStudyOptions): Promise<MadeStudy> {
  const { study, file, scale, folder, launch, provenance, say } = options;
  // Before anything is started: a wrong configuration is told at once.
  await planStudy(study, scale, { file, folder, address: options.address ?? '127.0.0.1:1' });
  await mkdir(folder, { recursive: true });
  const server =
    options.address === undefined
      ? await startServer(study, say)
      : { address: options.address, close: async () => {} };
  try {
    const plan = await planStudy(study, scale, { file, folder, address: server.address });
    let files: string[] = [];
    // One drawing at a time: runs that end together would write the same files.
    let drawing = Promise.resolve();
    const draw = () => {
      drawing = drawing.then(async () => {
        files = await writeResults(plan, folder, provenance);
      });
      return drawing;
    };
    const result = await runStudy({
      ...options,
      plan,
      launch: launch(server.address === undefined ? [] : ['--set', `environment.address=${server.address}`]),
      onProgress: draw,
    });
    await draw();
    return { ...result, files };
  } finally {
    await server.close();
  }
}
