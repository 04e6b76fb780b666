import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../../core/errors.js';
import { planStudy, scaleOf } from './plan.js';
import { type Provenance, writeResults } from './results.js';
import { type RunStudyOptions, type RunStudyResult, runStudy } from './run-study.js';
import type { Study } from './schema.js';
import { addressKey, serverOf, startServer } from './server.js';

export interface MakeStudyOptions extends Pick<RunStudyOptions, 'jobs' | 'modules' | 'signal' | 'say'> {
  readonly study: Study;
  /** The study's file, for messages. */
  readonly file: string;
  readonly scale: string;
  /** The study's own folder. */
  readonly folder: string;
  /** A server that is there already. */
  readonly address?: string;
  /** The folder of the model that a trainer is started with. */
  readonly model?: string;
  /** Starts runs; `extra` are arguments that every resumed one needs. */
  readonly launch: (extra: readonly string[]) => RunStudyOptions['launch'];
  readonly provenance: Provenance;
}

export interface MadeStudy extends RunStudyResult {
  /** Figures and tables. */
  readonly files: readonly string[];
}

/**
 * Makes a study's runs at a scale, as far as they are not made yet, and draws what they came to after each.
 * @throws ConfigError when study, scale or a configuration is wrong or a trainer has no model; PmpoError when the
 *   server does not start.
 */
export async function makeStudy(options: MakeStudyOptions): Promise<MadeStudy> {
  const { study, file, scale, folder, launch, provenance, modules, signal, say } = options;
  const { serverArguments, ...settings } = scaleOf(study, scale);
  const kind = serverOf(study, settings);
  // Before anything is started: a wrong configuration is told at once.
  await planStudy(study, scale, { file, folder, address: options.address ?? '127.0.0.1:1', modules });
  if (kind === 'trainer' && options.address === undefined && options.model === undefined) {
    throw new ConfigError({
      where: '--model',
      what: `the scale '${scale}' trains a language model, and none is given`,
      remedy: 'Give --model FOLDER, or --address HOST:PORT of a trainer that has one',
    });
  }
  await mkdir(folder, { recursive: true });
  const server =
    options.address === undefined
      ? await startServer({
          kind,
          model: options.model,
          // Checkpoints of its runs.
          folder: join(folder, 'trainer'),
          args: serverArguments,
          say,
          signal,
        })
      : { address: options.address, close: async () => {} };
  try {
    const plan = await planStudy(study, scale, { file, folder, address: server.address, modules });
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
      // A trainer trains one model.
      jobs: kind === 'trainer' ? 1 : options.jobs,
      plan,
      launch: launch(server.address === undefined ? [] : ['--set', `${addressKey(kind)}=${server.address}`]),
      onProgress: draw,
    });
    await draw();
    return { ...result, files };
  } finally {
    await server.close();
  }
}
