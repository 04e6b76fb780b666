import { join } from 'node:path';
import { stringify } from 'yaml';
import { type LoadedJob, resolveJob } from '../../config/load.js';
import { ConfigError } from '../../core/errors.js';
import { isGroup } from '../../core/key-path.js';
import { nearest } from '../../core/nearest.js';
import type { PublicModules } from '../../system/user-module.js';
import type { Study } from './schema.js';
import { addressSetting, serverOf } from './server.js';

/** One training run of a study. */
export interface StudyRun {
  readonly task: string;
  readonly variant: string;
  readonly seed: number;
  /** Its folder under the study's: task/variant/seedN. */
  readonly path: string;
  readonly loaded: LoadedJob;
}

/** A panel of a figure: labelled lines, each of one variant's runs on the tasks named. */
export interface Panel {
  readonly title: string;
  /** One task, or several, over which an aggregate is shown. */
  readonly tasks: readonly string[];
  readonly lines: Readonly<Record<string, string>>;
}

export interface PlannedFigure {
  readonly name: string;
  readonly title: string;
  /** A name in metrics.jsonl; absent: the return of the evaluations. */
  readonly metric?: string;
  readonly panels: readonly Panel[];
}

export interface StudyPlan {
  readonly runs: readonly StudyRun[];
  readonly figures: readonly PlannedFigure[];
  /** Names in metrics.jsonl of which every run's mean is kept. */
  readonly metrics: readonly string[];
}

type Tree = Readonly<Record<string, unknown>>;

/**
 * `over` laid over `base`, key by key. A group that names what it is for (`operator: {name: dpo}`) replaces the one below
 * it: settings of one operator mean nothing to another.
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

/** A scale of a study. @throws ConfigError when there is none of that name. */
export function scaleOf(study: Study, name: string): Study['scales'][string] {
  const scale = study.scales[name];
  if (scale !== undefined) return scale;
  const known = Object.keys(study.scales);
  const guess = nearest(name, known);
  throw new ConfigError({
    where: '--scale',
    what: `there is no scale '${name}'`,
    remedy: `${guess === undefined ? '' : `Did you mean '${guess}'? `}The study has ${known.join(', ')}`,
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
 * Every run that a scale of a study asks for, each once, seed 0 of everything before any seed 1, so that a study stopped
 * half-way shows every line; and the figures that come of them.
 *
 * @param folder the study's own folder, in whose `runs/` each run has its place.
 * @param address where the study's server is; undefined for runs that need none.
 * @param modules what plugins may import from this package.
 * @throws ConfigError when the scale is not there or one of the configurations is wrong.
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
    const { simulator, config } = scale.tasks[task]!;
    const own = {
      name: `seed${seed}`,
      output: join(folder, 'runs', task, variant),
      seed,
      ...(simulator === undefined ? {} : { environment: { simulator } }),
    };
    const parts = [study.base, scale.base, config, study.variants[variant]!, own, place];
    const values = parts.reduce<Record<string, unknown>>(layered, {});
    // Named so that a message says which run it is, and lying where the study does, from where its paths are meant.
    const loaded = await resolveJob(`${file} (${path.replaceAll('/', ' ')})`, stringify(values), [], {
      modules,
    });
    runs.push({ task, variant, seed, path, loaded });
  }
  return { runs, figures, metrics: study.metrics };
}
