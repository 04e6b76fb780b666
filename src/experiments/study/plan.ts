import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { type LoadedJob, resolveJob } from '../../config/load.js';
import { ConfigError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import { suggestion } from '../../core/nearest.js';
import type { PublicModules } from '../../system/user-module.js';
import { dataFolder } from '../recording/make-data.js';
import type { Study } from './schema.js';
import { addressSetting, serverOf } from './server.js';

/** One training run of a study. */
export interface StudyRun {
  readonly task: string;
  readonly variant: string;
  readonly seed: number;
  /** Its folder below `runs/` in the study's: task/variant/seedN. */
  readonly path: string;
  readonly loaded: LoadedJob;
}

/** A panel of a figure. Each of its labeled lines shows the runs of one variant. */
export interface Panel {
  readonly title: string;
  /** One task, or several tasks that are aggregated. */
  readonly tasks: readonly string[];
  /** The variant of each line, by label. */
  readonly lines: Readonly<Record<string, string>>;
}

/** A figure with its panels. */
export interface PlannedFigure {
  readonly name: string;
  readonly title: string;
  /** The name of a metric in metrics.jsonl. Absent: the score of the evaluations. */
  readonly metric?: string;
  readonly panels: readonly Panel[];
}

/** The folder in which the data of a task is made. */
export const taskFolder = (folder: string, task: string): string => resolve(folder, 'data', task);

/** The runs and figures of a study at one scale. */
export interface StudyPlan {
  readonly runs: readonly StudyRun[];
  readonly figures: readonly PlannedFigure[];
  /** Metrics whose mean over each run goes to the results. */
  readonly metrics: readonly string[];
  /** Metrics whose last value in each run goes to the results. */
  readonly lastMetrics: readonly string[];
}

type Tree = Readonly<Record<string, unknown>>;

/**
 * Merges `over` into a copy of `base`, key by key. A group with a name (`operator: {name: dpo}`) replaces the group in
 * `base`, because the settings of one operator do not apply to another.
 */
export function layered(base: Tree, over: Tree): Record<string, unknown> {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    const merges = isGroup(value) && isGroup(below) && value.name === undefined;
    result[key] = merges ? layered(below, value) : value;
  }
  return result;
}

/** The scale of a study with this name. @throws ConfigError that lists the scales if the study does not have it. */
export function scaleOf<T>({ scales }: { readonly scales: Readonly<Record<string, T>> }, name: string): T {
  const scale = scales[name];
  if (scale !== undefined) return scale;
  const known = Object.keys(scales);
  throw new ConfigError({
    where: '--scale',
    what: `unknown scale '${name}'`,
    remedy: `${suggestion(name, known)}The scales of the study are ${known.join(', ')}`,
  });
}

function panelsOf(study: Study, figure: string, tasks: readonly string[]): Panel[] {
  const { lines, panels } = study.figures[figure]!;
  if (lines !== undefined) {
    const each = tasks.map((task): Panel => ({ title: task, tasks: [task], lines }));
    return tasks.length > 1 ? [...each, { title: 'All tasks', tasks, lines }] : each;
  }
  return tasks.flatMap((task) =>
    Object.entries(panels ?? {}).map(
      ([title, shown]): Panel => ({
        title: tasks.length > 1 ? `${task}: ${title}` : title,
        tasks: [task],
        lines: shown,
      }),
    ),
  );
}

/**
 * Plans the runs and figures of a study at one scale. Each run is planned once. Seed 0 of every variant comes before any
 * seed 1, so that the figures of an interrupted study have all their lines.
 *
 * @param folder the folder of the study, which keeps its runs below `runs/`.
 * @param address the address of the study's server; undefined if the runs need no server.
 * @param modules what plugins may import from this package.
 * @throws ConfigError if the scale is unknown or one of the configurations is wrong.
 */
export async function planStudy(
  study: Study,
  scaleName: string,
  {
    file,
    folder,
    address,
    modules = {},
  }: {
    readonly file: string;
    readonly folder: string;
    readonly address?: string;
    readonly modules?: PublicModules;
  },
): Promise<StudyPlan> {
  const scale = scaleOf(study, scaleName);
  const figures = Object.entries(scale.figures).map(
    ([name, tasks]): PlannedFigure => ({
      name,
      title: study.figures[name]!.title,
      metric: study.figures[name]!.metric,
      panels: panelsOf(study, name, tasks),
    }),
  );
  const wanted = new Map<string, { task: string; variant: string; seed: number }>();
  for (const { panels } of figures) {
    for (const { tasks, lines } of panels) {
      for (const task of tasks) {
        for (const variant of Object.values(lines)) {
          for (let seed = 0; seed < scale.tasks[task]!.seeds; seed++)
            wanted.set(`${task}/${variant}/seed${seed}`, { task, variant, seed });
        }
      }
    }
  }
  const inOrder = [...wanted].toSorted(([, a], [, b]) => a.seed - b.seed);
  const place = address === undefined ? {} : addressSetting(serverOf(study, scale), address);
  const runs: StudyRun[] = [];
  for (const [path, { task, variant, seed }] of inOrder) {
    const { simulator, config, data } = scale.tasks[task]!;
    const own = {
      name: `seed${seed}`,
      output: join(folder, 'runs', task, variant),
      seed,
      ...(simulator === undefined ? {} : { environment: { simulator } }),
      ...(data === undefined ? {} : { dataset: { file: dataFolder(taskFolder(folder, task)) } }),
    };
    const parts = [study.base, scale.base, config, study.variants[variant]!, own, place];
    const values = parts.reduce<Record<string, unknown>>(layered, {});
    // The name tells messages which run it is, and resolves paths relative to the study's file.
    const loaded = await resolveJob(`${file} (${path.replaceAll('/', ' ')})`, stringify(values), [], {
      modules,
    });
    runs.push({ task, variant, seed, path, loaded });
  }
  return { runs, figures, metrics: study.metrics, lastMetrics: study.lastMetrics };
}
