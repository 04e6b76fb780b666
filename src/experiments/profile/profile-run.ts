import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type Profiler, Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LoadedConfig } from '../../config/load.js';
import { PmpoError, StoppedError } from '../../core/errors.js';
import { createEngine } from '../../engine/create.js';
import { trainControl } from '../../learners/control/train.js';
import { openTrainingEnvironments, type TrainingEnvironments } from '../environments.js';
import { readSessionProfile, type SessionProfile } from './kernel-times.js';
import { type Span, SpanRecorder } from './spans.js';

/** The steps before the profile, in which functions are traced and caches fill, beyond those of random actions. */
const settlingSteps = 300;
/** Steps of random actions before the learner begins. They cost what other steps cost without updates. */
const mostWarmupSteps = 500;
/** The time between two samples of the main thread, in microseconds. */
const samplingInterval = 200;

/** What was measured. Times of spans are milliseconds, those of the others microseconds, each on a clock of its own. */
export interface RunProfile {
  readonly steps: number;
  readonly updates: number;
  readonly seconds: number;
  readonly spans: readonly Span[];
  /** Of the main thread. */
  readonly cpu: Profiler.Profile;
  /** When the main thread's profile began, on the spans' clock. */
  readonly cpuStart: number;
  /** Of each compiled function that ran on ONNX Runtime, by its name. */
  readonly sessions: ReadonlyMap<string, SessionProfile>;
}

/** What `profileRun` needs besides the configuration. */
export interface ProfileOptions {
  /** Environment steps to measure. */
  readonly steps: number;
  readonly notice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Trains for a short time as a configuration says, without a run folder, and measures where the time goes.
 * @throws PmpoError as a run of this configuration does, for one that learns from remote actors, and if it is stopped.
 */
export async function profileRun(
  { config, operator, classifier }: LoadedConfig,
  { steps, notice, signal }: ProfileOptions,
): Promise<RunProfile> {
  if (config.replay.redis !== undefined) {
    throw new PmpoError({
      where: 'replay.redis',
      what: 'a profile is of a run that acts in its own process',
      remedy: 'Leave it out of the configuration',
    });
  }
  const warmupSteps = Math.min(config.learner.warmupSteps, mostWarmupSteps);
  const begin = warmupSteps + settlingSteps;
  const learner = { ...config.learner, warmupSteps, environmentSteps: begin + 2 * steps };
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-profile-'));
  const recorder = new SpanRecorder(() => performance.now());
  const profiler = new Session();
  profiler.connect();
  try {
    const engine = await createEngine(config.engine, {
      threads: config.threads,
      profilePrefix: join(folder, 'graph'),
    });
    const end = new AbortController();
    const stop = () => end.abort();
    let environments: TrainingEnvironments | undefined;
    let started: { readonly steps: number; readonly updates: number; readonly at: number } | undefined;
    let ended: typeof started;
    let cpu: Promise<{ profile: Profiler.Profile }> | undefined;
    try {
      environments = await openTrainingEnvironments(config, { notice, signal });
      signal?.addEventListener('abort', stop);
      await profiler.post('Profiler.enable');
      await profiler.post('Profiler.setSamplingInterval', { interval: samplingInterval });
      await trainControl({
        config: { ...config, learner, evaluation: { ...config.evaluation, every: Number.MAX_SAFE_INTEGER } },
        engine: recorder.engine(engine),
        environment: recorder.environment(environments.environment!),
        evaluationEnvironment: environments.evaluationEnvironment,
        operator,
        classifier,
        classifierName: config.feedback.name,
        observer: {
          progress: (done, updates) => {
            const now = { steps: done, updates, at: performance.now() };
            if (started === undefined && done >= begin) {
              started = now;
              recorder.isRecording = true;
              void profiler.post('Profiler.start');
            } else if (started !== undefined && ended === undefined && done >= started.steps + steps) {
              ended = now;
              recorder.isRecording = false;
              cpu = profiler.post('Profiler.stop');
              stop();
            }
          },
          metrics: () => {},
          evaluation: () => {},
          notice,
          checkpoint: async () => {},
        },
        signal: end.signal,
        clock: () => performance.now(),
      });
    } finally {
      signal?.removeEventListener('abort', stop);
      await environments?.close();
      // Writes the graphs' profiles.
      await engine.dispose();
    }
    if (started === undefined || ended === undefined || cpu === undefined) {
      throw new StoppedError({ where: 'profile', what: 'stopped before its steps were taken' });
    }
    return {
      steps: ended.steps - started.steps,
      updates: ended.updates - started.updates,
      seconds: (ended.at - started.at) / 1000,
      spans: recorder.spans,
      cpu: (await cpu).profile,
      cpuStart: started.at,
      sessions: await sessionsIn(folder),
    };
  } finally {
    profiler.disconnect();
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * The profiles of graphs in a folder, by the names of their functions. A function that is traced for several shapes has several graphs; the
 * one that is called most is what counts.
 */
export async function sessionsIn(folder: string): Promise<Map<string, SessionProfile>> {
  const found = new Map<string, SessionProfile>();
  for (const file of await readdir(folder)) {
    // graph-NAME_DATE_TIME.json
    const name = /^graph-(.+?)_\d{4}-\d{2}-\d{2}_/.exec(file)?.[1];
    if (name === undefined) continue;
    const lines = createInterface({ input: createReadStream(join(folder, file)), crlfDelay: Infinity });
    const profile = await readSessionProfile(lines);
    const others = found.get(name);
    if (others === undefined || profile.calls > others.calls) found.set(name, profile);
  }
  return found;
}
