import { resolveConfig } from '../../src/config/load.js';
import { parseOverride } from '../../src/config/source.js';
import { createEngine } from '../../src/engine/create.js';
import { createVectorEnvironment } from '../../src/environments/create-vector-environment.js';
import type { Environment } from '../../src/environments/environment.js';
import { trainControl } from '../../src/learners/control/train.js';
import { silentObserver } from './silent-observer.js';

/** A control job with default settings, in environments of this process. */
export interface DefaultJob {
  /** Makes one of the environments: 8 to act in and 4 to evaluate in. */
  readonly connect: () => Promise<Environment>;
  /** Environment steps. */
  readonly steps: number;
  /** Settings that differ from the defaults, as on the command line. */
  readonly overrides?: readonly string[];
  /** Episodes of the evaluation at the end. Default: 20. */
  readonly episodes?: number;
  /** Receives what the run tells a person while it trains. */
  readonly onNotice?: (message: string) => void;
}

/** The returns of the evaluation at the end of a job. */
export async function trainByDefault({
  connect,
  steps,
  overrides = [],
  episodes = 20,
  onNotice = () => {},
}: DefaultJob): Promise<readonly number[]> {
  // The simulator that the configuration names is not used: the environments are those of `connect`.
  const text = 'environment: { simulator: cartpole_swingup }';
  const { config, operator, classifier } = await resolveConfig(
    'job.yaml',
    text,
    overrides.map(parseOverride),
  );
  const environment = (numEnvs: number, offset: number) =>
    createVectorEnvironment({
      connect,
      numEnvs,
      episodeSeed: (env, episode) => offset + env * 10_007 + episode * 101,
      reconnect: { attempts: 0, initialDelaySeconds: 0.001, maxDelaySeconds: 0.001 },
      notice: () => {},
    });
  const engine = await createEngine('onnx', { threads: 1 });
  try {
    const { evaluation } = await trainControl({
      config: {
        ...config,
        learner: { ...config.learner, environmentSteps: steps },
        evaluation: { ...config.evaluation, every: steps, episodes },
      },
      engine,
      environment: await environment(8, 1),
      evaluationEnvironment: await environment(4, 500_000),
      operator,
      classifier,
      observer: { ...silentObserver, notice: onNotice },
      clock: () => 0,
    });
    return evaluation.scores;
  } finally {
    engine.dispose();
  }
}
