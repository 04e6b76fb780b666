import { ConfigError } from '../../core/errors.js';
import { median } from '../../core/statistics.js';
import { createEngine } from '../../engine/create.js';
import type { FeedbackClassifier } from '../../feedback/classifier.js';
import type { BanditMethod, BanditResult } from '../../learners/bandit/config.js';
import { benchmarkFunction } from '../../learners/bandit/functions.js';
import { trainBandit } from '../../learners/bandit/train.js';
import { pmpo } from '../../operators/pmpo.js';
import type { StabilityCell } from '../../report/search-panels.js';
import { type Ending, endingsOf, gridOf, type Line, linesOf, rounded, spacedIndices } from './aggregate.js';
import { CmaEsReference, type CmaEsState } from './cma-es-reference.js';
import { type BanditStudy, type SearchConfig, searchConfig } from './schema.js';
import {
  type Candidate,
  candidatesOf,
  classifierOf,
  judge,
  type StudyNames,
  type TuningRow,
} from './tuning.js';

/** Makes all searches of a study of bandits: settings are tuned, and then every method searches every function. */

/** The outcome of one search of the study. */
export interface MadeSearch {
  readonly name: string;
  readonly title: string;
  readonly config: SearchConfig;
  readonly functions: readonly string[];
  /** The methods in their order, CMA-ES last if it searched. */
  readonly methods: readonly string[];
  readonly lines: readonly Line[];
  readonly endings: readonly Ending[];
  /** What settings were chosen for, and how all did; empty if there was nothing to choose. */
  readonly score: 'end' | 'search';
  readonly tuning: readonly TuningRow[];
}

/** The path of one seed, in the coordinates of the function. */
export interface MadePath {
  readonly method: string;
  readonly function: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface MadeStability {
  readonly function: string;
  readonly rejectShare: number;
  readonly cells: readonly StabilityCell[];
}

export interface MadeBanditStudy {
  readonly searches: readonly MadeSearch[];
  readonly paths: readonly MadePath[];
  readonly stability: readonly MadeStability[];
  readonly cmaEs: CmaEsState | undefined;
}

export interface MakeBanditStudyOptions {
  readonly study: BanditStudy;
  /** The study's file, for messages. */
  readonly file: string;
  /** The operators and classifiers that the study can name. */
  readonly names: StudyNames;
  /** The number of batches of searches that run at the same time. */
  readonly jobs: number;
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** A seed of tuning is none of the searches'. */
const firstTuningSeed = 1000;

/** A search of the study, checked and ready to be made. */
interface Planned {
  readonly name: string;
  readonly title: string;
  readonly config: SearchConfig;
  readonly classifier: FeedbackClassifier;
  readonly functions: readonly string[];
  readonly methods: readonly string[];
  readonly candidates: readonly Candidate[];
  /** The search whose tuned settings it takes: itself, or another. */
  readonly tunedBy: string;
  readonly score: 'end' | 'search';
  readonly cmaEs: boolean;
}

/**
 * Checks the settings of everything that the study makes, before anything is made.
 * @throws ConfigError with the place of what is wrong.
 */
export function planBanditStudy(file: string, study: BanditStudy, names: StudyNames): Planned[] {
  const { base, methods, searches } = study;
  const planned = Object.entries(searches).map(
    ([name, { title, functions, methods: shown, config: own, tune, tunedBy, score, cmaEs }]) => {
      const where = `${file}: bandit.searches.${name}`;
      const config = searchConfig(where, base, own);
      const classifier = classifierOf(where, config, names);
      const chosen = shown ?? Object.keys(methods);
      const candidates = chosen.flatMap((method) =>
        candidatesOf(
          `${file}: bandit.methods.${method}`,
          method,
          { ...methods[method]!, tune: { ...methods[method]!.tune, ...tune } },
          config,
          classifier,
          names,
        ),
      );
      return {
        name,
        title,
        config,
        classifier,
        functions,
        methods: chosen,
        candidates,
        tunedBy: tunedBy ?? name,
        score,
        cmaEs,
      };
    },
  );
  checkTuning(file, study, planned);
  if (study.contours !== undefined) checkContours(file, study.contours, study, planned);
  if (study.stability !== undefined) stabilityOf(file, study, study.stability, names);
  return planned;
}

/** @throws ConfigError if settings have to be chosen, and nothing says how, or the search that chooses them does not. */
function checkTuning(file: string, { tuning }: BanditStudy, planned: readonly Planned[]): void {
  for (const { name, tunedBy, methods, candidates } of planned) {
    const source = planned.find((search) => search.name === tunedBy);
    const missing = methods.find((method) => source?.methods.includes(method) !== true);
    if (missing !== undefined) {
      throw new ConfigError({
        where: `${file}: bandit.searches.${name}.tunedBy`,
        what: `the search '${tunedBy}' does not tune ${missing}`,
        remedy: `Add ${missing} to its methods`,
      });
    }
    if (tunedBy !== name || candidates.length === methods.length || tuning !== undefined) continue;
    throw new ConfigError({
      where: `${file}: bandit.tuning`,
      what: `it is missing, and methods of the search '${name}' have settings to choose from`,
      remedy: 'Name a function: `tuning: {function: ellipsoid, seeds: 10, copies: 200}`',
    });
  }
}

/** @throws ConfigError if there are no paths to draw, or the contours of their functions cannot be drawn. */
function checkContours(
  file: string,
  { search, seed }: NonNullable<BanditStudy['contours']>,
  { seeds }: Pick<BanditStudy, 'seeds'>,
  planned: readonly Planned[],
): void {
  const { dimensions } = planned.find(({ name }) => name === search)!.config;
  if (dimensions !== 2) {
    throw new ConfigError({
      where: `${file}: bandit.contours.search`,
      what: `the functions of '${search}' have ${dimensions} variables`,
      remedy: 'Name a search with `dimensions: 2`',
    });
  }
  if (seed < seeds) return;
  throw new ConfigError({
    where: `${file}: bandit.contours.seed`,
    what: `there is no seed ${seed}`,
    remedy: `The seeds of the study are 0 to ${seeds - 1}`,
  });
}

/** The settings of the map of stability. @throws ConfigError if they are wrong, or the map would have no line. */
function stabilityOf(
  file: string,
  { base }: Pick<BanditStudy, 'base'>,
  map: NonNullable<BanditStudy['stability']>,
  names: StudyNames,
): { readonly config: SearchConfig; readonly classifier: FeedbackClassifier; readonly rejectShare: number } {
  const where = `${file}: bandit.stability`;
  const config = searchConfig(where, base, map.config);
  const classifier = classifierOf(where, config, names);
  const rejectShare = classifier.rejectShare?.(config.learner.samples);
  if (rejectShare !== undefined) return { config, classifier, rejectShare };
  throw new ConfigError({
    where: `${where}.config.feedback`,
    what: 'the share of rejected samples differs from context to context, so the map has no line',
    remedy: 'Choose top-k',
  });
}

/** Runs tasks, at most `count` at once, and begins no other once one has failed. */
async function inTurns<T>(count: number, tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const lane = async () => {
    while (next < tasks.length) {
      const index = next++;
      try {
        results[index] = await tasks[index]!();
      } catch (error) {
        // Tasks that have not begun would be lost work.
        next = tasks.length;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, tasks.length) }, lane));
  return results;
}

/**
 * Makes the searches of a study.
 * @throws ConfigError if its settings are wrong, and StoppedError if `signal` is aborted. CMA-ES that cannot search is reported in the result.
 */
export async function makeBanditStudy(options: MakeBanditStudyOptions): Promise<MadeBanditStudy> {
  const { study, file, jobs, say } = options;
  const planned = planBanditStudy(file, study, options.names);
  const byName = new Map(planned.map((search) => [search.name, search]));
  const seeds = Array.from({ length: study.seeds }, (_, i) => i);

  const tuned = new Map<string, BanditResult | undefined>();
  const stability: MadeStability[] = [];
  const tuneTasks = planned
    .filter(({ name, tunedBy }) => tunedBy === name)
    .map((search) => async () => {
      tuned.set(search.name, await tune(options, search));
    });
  const mapTask = async () => {
    if (study.stability === undefined) return;
    stability.push(...(await makeStability(options, study.stability)));
  };
  await inTurns(jobs, [...tuneTasks, mapTask]);

  const cmaEs = new CmaEsReference(options);
  const paths: MadePath[] = [];
  const made = await inTurns(
    jobs,
    planned.map((search) => async (): Promise<MadeSearch> => {
      const { name, title, config, functions, methods } = search;
      const source = byName.get(search.tunedBy)!;
      const { rows, chosen } = chooseSettings(source, tuned.get(source.name), search.score);
      say(`${name}: ${methods.length} methods, ${functions.length} functions, ${seeds.length} seeds`);
      const result = await searches(options, config, search.classifier, {
        functions,
        methods: methods.map((method) => chosen.get(method)!),
        seeds,
        copies: config.reference.copies,
      });
      if (study.contours?.search === name) paths.push(...pathsOf(study.contours, result));
      const reference = search.cmaEs
        ? await cmaEs.search(functions, config, seeds, gridOf(result))
        : undefined;
      return {
        name,
        title,
        config,
        functions,
        methods: [...methods, ...new Set(reference?.lines.map(({ method }) => method))],
        lines: [...linesOf(result), ...(reference?.lines ?? [])],
        endings: [...endingsOf(result), ...(reference?.endings ?? [])],
        score: search.score,
        tuning: rows,
      };
    }),
  );
  return { searches: made, paths, stability, cmaEs: cmaEs.state };
}

/** The searches by which settings are chosen; undefined if no method has settings to choose from. */
async function tune(options: MakeBanditStudyOptions, search: Planned): Promise<BanditResult | undefined> {
  const { study, say } = options;
  const { name, candidates, methods, config, classifier } = search;
  if (candidates.length === methods.length) return undefined;
  // It was checked when the study was planned.
  const { function: fn, seeds, copies } = study.tuning!;
  say(`${name}: tuning ${candidates.length} settings on ${fn}`);
  return searches(options, config, classifier, {
    functions: [fn],
    methods: candidates,
    seeds: Array.from({ length: seeds }, (_, i) => firstTuningSeed + i),
    copies,
  });
}

/** The settings of each method, chosen by the searches of `tune`. */
function chooseSettings(
  { candidates }: Planned,
  result: BanditResult | undefined,
  score: Planned['score'],
): ReturnType<typeof judge> {
  if (result !== undefined) return judge(candidates, result, score);
  return { rows: [], chosen: new Map(candidates.map((only) => [only.of, { ...only, name: only.of }])) };
}

/** Makes searches in an engine of their own: graphs of different batches run at the same time. */
async function searches(
  { signal }: MakeBanditStudyOptions,
  config: SearchConfig,
  classifier: FeedbackClassifier,
  {
    functions,
    methods,
    seeds,
    copies,
  }: {
    readonly functions: readonly string[];
    readonly methods: readonly BanditMethod[];
    readonly seeds: readonly number[];
    readonly copies: number;
  },
): Promise<BanditResult> {
  const engine = await createEngine('auto', { threads: 1 });
  try {
    return await trainBandit({
      engine,
      config: { ...config, reference: { ...config.reference, copies } },
      functions: functions.map(benchmarkFunction),
      methods,
      seeds,
      classifier,
      classifierName: config.feedback.name,
      signal,
    });
  } finally {
    await engine.dispose();
  }
}

/** Points that a path has at most. */
const pathPoints = 101;

/** The paths of one seed. */
function pathsOf(
  { functions, seed }: NonNullable<BanditStudy['contours']>,
  { traces }: BanditResult,
): MadePath[] {
  return traces
    .filter((trace) => trace.seed === seed && functions.includes(trace.function))
    .map(({ method, function: name, points }) => {
      const [low, high] = benchmarkFunction(name).domain;
      const scaled = (value = 0) => rounded((low + high) / 2 + ((high - low) / 2) * value);
      const shown = spacedIndices(points.length, pathPoints).map((index) => points[index]!);
      return { method, function: name, points: shown.map(({ mode: [x, y] }) => [scaled(x), scaled(y)]) };
    });
}

/** What becomes of PMPO at each pair of α and β, all in one graph. */
async function makeStability(
  options: MakeBanditStudyOptions,
  map: NonNullable<BanditStudy['stability']>,
): Promise<MadeStability[]> {
  const { study, file, say } = options;
  const { config, classifier, rejectShare } = stabilityOf(file, study, map, options.names);
  const pairs = map.alpha.flatMap((alpha) =>
    map.beta.map((beta) => ({ alpha, beta, name: `${alpha} ${beta}` })),
  );
  say(`stability: ${pairs.length} pairs of alpha and beta on ${map.functions.join(' and ')}`);
  const { traces } = await searches(options, config, classifier, {
    functions: map.functions,
    methods: pairs.map(({ alpha, beta, name }) => ({
      name,
      operator: pmpo({ alpha, beta }),
      learningRate: map.learningRate,
    })),
    seeds: Array.from({ length: map.seeds }, (_, i) => i),
    copies: map.copies,
  });
  return map.functions.map((fn) => ({
    function: fn,
    rejectShare,
    cells: pairs.map(({ alpha, beta, name }) => {
      const own = traces.filter((trace) => trace.method === name && trace.function === fn);
      const sound = own.filter(({ outcome }) => outcome === 'finished');
      const values = sound.map(({ points }) => points[points.length - 1]!.value);
      return {
        alpha,
        beta,
        value: values.length === 0 ? undefined : rounded(median(values)),
        lost: rounded(1 - sound.length / own.length),
      };
    }),
  }));
}
