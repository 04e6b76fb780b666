import { median } from '../../src/core/statistics.js';

/** The tasks of `npm run bench defaults`, the rows that its runs leave, and the table of them. */

/** How a task's server is started. An embedded simulator needs none. */
export type TaskServer = 'embedded' | 'catch' | 'gymnasium' | 'dm-control';

/** A task, the length of its runs, and the return that every seed must reach. */
export interface Task {
  readonly name: string;
  readonly server: TaskServer;
  /** The setting `environment.simulator`; absent if the server has one simulator and takes no such setting. */
  readonly simulator?: string;
  /** The kind of its actions, on which some defaults depend. */
  readonly actions: 'continuous' | 'integer';
  /** Environment steps of a run. */
  readonly steps: number;
  /** The return to reach, or a tuned configuration whose worst seed is to be reached. */
  readonly goal: number | { readonly example: string };
  /** The operators that are tried; `pmpo` is the default and is not named in the configuration. */
  readonly operators: readonly string[];
}

const all = ['pmpo', 'mpo', 'dpo', 'kto'];

export const tasks: readonly Task[] = [
  { name: 'catch', server: 'catch', actions: 'integer', steps: 25_000, goal: 0.95, operators: all },
  {
    name: 'pendulum',
    server: 'gymnasium',
    simulator: 'gymnasium/Pendulum-v1',
    actions: 'continuous',
    steps: 20_000,
    goal: -200,
    operators: all,
  },
  {
    name: 'cartpole_swingup',
    server: 'embedded',
    simulator: 'cartpole_swingup',
    actions: 'continuous',
    steps: 50_000,
    goal: 800,
    operators: all,
  },
  {
    name: 'reacher',
    server: 'embedded',
    simulator: 'reacher',
    actions: 'continuous',
    steps: 50_000,
    goal: 850,
    operators: ['pmpo'],
  },
  {
    name: 'cartpole',
    server: 'gymnasium',
    simulator: 'gymnasium/CartPole-v1',
    actions: 'integer',
    steps: 50_000,
    goal: 500,
    operators: ['pmpo'],
  },
  {
    name: 'acrobot',
    server: 'gymnasium',
    simulator: 'gymnasium/Acrobot-v1',
    actions: 'integer',
    steps: 100_000,
    goal: -100,
    operators: ['pmpo'],
  },
  {
    name: 'lunar-lander',
    server: 'gymnasium',
    simulator: 'gymnasium/LunarLander-v3',
    actions: 'integer',
    steps: 200_000,
    goal: 200,
    operators: ['pmpo'],
  },
  {
    name: 'walker-walk',
    server: 'dm-control',
    simulator: 'suite/walker-walk',
    actions: 'continuous',
    steps: 100_000,
    goal: { example: 'bench/support/walker-walk-tuned.yaml' },
    operators: ['pmpo', 'example'],
  },
];

/** One finished run, a line of rows.jsonl. */
export interface DefaultsRow {
  readonly task: string;
  /** The operator, or `example` for the tuned configuration of the task. */
  readonly operator: string;
  readonly seed: number;
  /** The mean return of the last policy over `episodes` episodes; null if the run diverged. */
  readonly return: number | null;
  readonly episodes: number;
  /** The best mean return of the evaluations during the run, which have fewer episodes. */
  readonly best: number | null;
  /** [environment steps, mean return] of the evaluations during the run. */
  readonly curve: readonly (readonly [number, number])[];
  readonly steps: number;
  readonly wallSeconds: number;
  /** The warnings that the run gave, without numbers of the moment. */
  readonly warnings: readonly string[];
  readonly version: string;
  readonly commit: string;
  readonly date: string;
  /** A digest of every setting of the run, so that a row of other defaults is known as such. */
  readonly defaults: string;
  /** Settings that the run was given in addition to its one line. In the committed rows they are values that have become defaults since. */
  readonly settings: Readonly<Record<string, string>>;
}

/** The fields that identify a run among those of the same defaults. */
export type RunKey = Pick<DefaultsRow, 'task' | 'operator' | 'seed'>;

export const keyOf = ({ task, operator, seed }: RunKey) => `${task}-${operator}-seed${seed}`;

/** The newest row of each run. Rows of earlier defaults are left out, if the digest of today's is known. */
export function currentRows(
  rows: readonly DefaultsRow[],
  digestOf: (key: RunKey) => string | undefined,
): DefaultsRow[] {
  const newest = new Map<string, DefaultsRow>();
  for (const row of rows) {
    if (row.defaults === (digestOf(row) ?? row.defaults)) newest.set(keyOf(row), row);
  }
  return [...newest.values()];
}

/** The return that each seed of a task must reach: that of the worst seed of the tuned example, if the goal is an example. */
export function goalOf(task: Task, rows: readonly DefaultsRow[]): number | undefined {
  if (typeof task.goal === 'number') return task.goal;
  const tuned = rows.flatMap((row) =>
    row.task === task.name && row.operator === 'example' && row.return !== null ? [row.return] : [],
  );
  return tuned.length === 0 ? undefined : Math.min(...tuned);
}

const shown = (value: number | null) =>
  value === null ? 'diverged' : Math.abs(value) < 10 ? value.toFixed(2) : value.toFixed(0);

/** One line of the table: the rows of one operator on one task. */
function line(task: Task, operator: string, rows: readonly DefaultsRow[], seeds: readonly number[]): string {
  const own = rows.filter((row) => row.task === task.name && row.operator === operator);
  const goal = goalOf(task, rows);
  const passes = own.filter((row) => row.return !== null && goal !== undefined && row.return >= goal).length;
  const complete = seeds.every((seed) => own.some((row) => row.seed === seed));
  const verdict = () => {
    if (operator === 'example') return 'tuned, for comparison';
    if (own.length === 0) return 'not run';
    if (goal === undefined) return 'the example has not run';
    if (!complete) return `${passes} of ${own.length} so far`;
    return passes === own.length ? '**passed**' : `missed (${passes} of ${own.length})`;
  };
  const cells = [
    task.name,
    operator,
    task.steps.toLocaleString('en-US'),
    typeof task.goal === 'number'
      ? `≥ ${task.goal}`
      : `≥ the tuned example${goal === undefined ? '' : ` (${shown(goal)})`}`,
    ...seeds.map((seed) => {
      const row = own.find((one) => one.seed === seed);
      return row === undefined ? '–' : shown(row.return);
    }),
    own.length === 0 ? '–' : shown(median(own.map((row) => row.return ?? Number.NEGATIVE_INFINITY))),
    own.length === 0 ? '–' : `${Math.round(median(own.map((row) => row.wallSeconds)))} s`,
    verdict(),
  ];
  return `| ${cells.join(' | ')} |`;
}

/**
 * The table in Markdown: each seed's return, their median, and whether every seed reaches the goal.
 * @param rows one row for each run.
 * @param seeds the seeds that a task needs to pass.
 * @param trial the settings, KEY=VALUE, that differ from the defaults in every run.
 */
export function defaultsTable(
  rows: readonly DefaultsRow[],
  {
    seeds,
    command,
    trial = [],
  }: { readonly seeds: readonly number[]; readonly command: string; readonly trial?: readonly string[] },
): string {
  const head = [
    'Task',
    'Operator',
    'Steps',
    'Goal',
    ...seeds.map((seed) => `Seed ${seed}`),
    'Median',
    'Time',
    '',
  ];
  const commits = [...new Set(rows.map(({ commit }) => commit))];
  const warned = rows.filter(({ warnings }) => warnings.length > 0);
  const lines = tasks.flatMap((task) => task.operators.map((operator) => line(task, operator, rows, seeds)));
  const settings = rows.flatMap((row) =>
    Object.entries(row.settings).map(([key, value]) => `${key}=${value}`),
  );
  const given = [...new Set(settings)].filter((setting) => !trial.includes(setting));
  const episodes = [...new Set(rows.map((row) => row.episodes))].join(' or ') || 'no';
  return `# Defaults${trial.length === 0 ? '' : `, but for ${trial.join(', ')}`}

Each run's configuration is one line, the environment alone or the environment and \`operator: {name: NAME}\`; the length of the run and
the times of the evaluations are given on the command line. Each number is the mean return of the last policy over ${episodes} evaluation
episodes; a task is passed if every seed reaches the goal. Made by \`${command}\` from [rows.jsonl](rows.jsonl).

${[`| ${head.join(' | ')} |`, `|${head.map(() => ' --- |').join('')}`, ...lines].join('\n')}

Commits: ${commits.length === 0 ? 'none yet' : commits.join(', ')}.${
    given.length === 0 ? '' : ` Some runs were given what is the default now: ${given.join(', ')}.`
  }
${
  warned.length === 0
    ? ''
    : `\nWarnings of the runs:\n\n${warned.map((row) => `- ${keyOf(row)}: ${row.warnings.join('; ')}`).join('\n')}\n`
}`;
}
