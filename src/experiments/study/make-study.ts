import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../../core/errors.js';
import { makeData } from '../recording/make-data.js';
import { planStudy, scaleOf, taskFolder } from './plan.js';
import { type Provenance, writeResults } from './results.js';
import { type RunStudyOptions, type RunStudyResult, runStudy } from './run-study.js';
import type { Study } from './schema.js';
import { addressKey, serverOf, startServer } from './server.js';

/** What `makeStudy` needs. */
export interface MakeStudyOptions extends Pick<RunStudyOptions, 'jobs' | 'modules' | 'signal' | 'say'> {
  readonly study: Study;
  /** The study's file, for messages. */
  readonly file: string;
  readonly scale: string;
  /** The folder of the study. */
  readonly folder: string;
  /** The address of a running server. Absent: one is started. */
  readonly address?: string;
  /** The folder of the model for a trainer to start with. */
  readonly model?: string;
  /** Starts runs. @param extra arguments for every resumed run. */
  readonly launch: (extra: readonly string[]) => RunStudyOptions['launch'];
  readonly provenance: Provenance;
}

/** The outcome of `makeStudy`. */
export interface MadeStudy extends RunStudyResult {
  /** The files of the figures and tables. */
  readonly files: readonly string[];
}

/**
 * Makes the runs of a study that have not been made yet, and draws all results after each.
 * @throws ConfigError if the study, the scale or a configuration is wrong or a trainer has no model, and PmpoError if the
 *   server does not start.
 */
export async function makeStudy(options: MakeStudyOptions): Promise<MadeStudy> {
  const { study, file, scale, folder, launch, provenance, modules, signal, say } = options;
  const { serverArguments, ...settings } = scaleOf(study, scale);
  const kind = serverOf(study, settings);
  // Finds errors in the configurations before anything starts; the address does not matter for that.
  await planStudy(study, scale, { file, folder, address: options.address ?? '127.0.0.1:1', modules });
  if (kind === 'trainer' && options.address === undefined && options.model === undefined) {
    throw new ConfigError({
      where: '--model',
      what: `the scale '${scale}' trains a language model, but no model is given`,
      remedy: 'Give --model FOLDER, or --address HOST:PORT of a trainer that has one',
    });
  }
  await mkdir(folder, { recursive: true });
  const server =
    options.address === undefined
      ? await startServer({
          kind,
          model: options.model,
          folder: join(folder, 'trainer'),
          args: serverArguments,
          say,
          signal,
        })
      : { address: options.address, close: async () => {} };
  try {
    for (const [task, { data }] of Object.entries(settings.tasks)) {
      if (data === undefined) continue;
      await makeData({
        recipe: data,
        file: `${file} (${task}, data)`,
        folder: taskFolder(folder, task),
        modules,
        signal,
        say,
        command: provenance.command,
      });
    }
    const plan = await planStudy(study, scale, { file, folder, address: server.address, modules });
    let files: string[] = [];
    // Drawings are made in turn, because runs that end together would write the same files.
    let drawing = Promise.resolve();
    const draw = () => {
      drawing = drawing.then(async () => {
        files = await writeResults(plan, folder, provenance);
      });
      return drawing;
    };
    const result = await runStudy({
      ...options,
      // A trainer trains one model at a time.
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
