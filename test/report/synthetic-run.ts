import { fillNormal, foldIn, randomKey } from '../../src/core/random-keys.js';
import { mean, standardDeviation } from '../../src/core/statistics.js';
import type { RunSummary } from '../../src/run/records.js';
import { createRunDirectory } from '../../src/run/run-directory.js';

export interface SyntheticRun {
  readonly operator: string;
  readonly seed: number;
  /** The return to which it converges. */
  readonly plateau: number;
  /** Environment steps at which it has half of that return. */
  readonly halfway: number;
  /** Environment steps from which on its numbers are not finite. */
  readonly divergesAt?: number;
  readonly environmentSteps?: number;
  readonly finished?: boolean;
}

/** Writes the folder of a run with plausible numbers, for tests of reports. */
export async function writeSyntheticRun(
  output: string,
  { operator, seed, plateau, halfway, divergesAt, environmentSteps = 100_000, finished = true }: SyntheticRun,
): Promise<string> {
  const directory = await createRunDirectory(output, `cartpole_swingup-${operator}-seed${seed}`);
  const key = foldIn(foldIn(randomKey(seed), operator), 'synthetic');
  let draws = 0;
  const normal = () => fillNormal(foldIn(key, draws++), new Float32Array(1))[0]!;
  await directory.writeConfig(
    `seed: ${seed}\nenvironment:\n  simulator: cartpole_swingup\n  numEnvs: 8\noperator:\n  name: ${operator}\n  alpha: 0.5\n  kl:\n    mean: 1\n    covariance: 50\nfeedback:\n  name: top-k\n  accept: 2\n  reject: 2\nlearner:\n  environmentSteps: ${environmentSteps}\n`,
  );
  const records = directory.openRecords({ now: () => Date.UTC(2030, 0, 1) });
  const progressAt = (steps: number) => 1 / (1 + Math.exp((halfway - steps) / (0.12 * environmentSteps)));
  const broken = (steps: number) => divergesAt !== undefined && steps >= divergesAt;
  let wallSeconds = 0;
  let returns: number[] = [];
  for (let steps = 500; steps <= environmentSteps; steps += 500) {
    const stepsPerSecond = 1900 + 90 * normal() - 300 * (steps / environmentSteps);
    wallSeconds += 500 / stepsPerSecond;
    const at = { steps, stepUnit: 'environment steps', updates: steps / 2, wallSeconds } as const;
    const p = progressAt(steps);
    const values: Record<string, number> = {
      'acting/return': plateau * p * (0.9 + 0.06 * normal()) + 12,
      'policy/loss': broken(steps) ? Number.NaN : 3.1 - 2.2 * p + 0.1 * normal(),
      'critic/loss': 4 * Math.exp(0.35 * normal()) * (0.02 + p * (1 - p)),
      'policy/kl/mean': 0.012 * (1 + 0.2 * normal()),
      'policy/kl/covariance': 0.003 * (1 + 0.3 * normal()) * (1.2 - p),
      'policy/entropy': 0.8 - 1.6 * p + 0.02 * normal(),
      'policy/stddev': 0.5 * Math.exp(-1.5 * p) + 0.004 * normal(),
      'critic/value': plateau * p * 0.09,
      'critic/target': plateau * p * 0.09 + normal(),
      'critic/gradientNorm': Math.exp(3 * normal()),
      'replay/size': steps,
      'speed/stepsPerSecond': stepsPerSecond,
    };
    values['policy/kl'] = values['policy/kl/mean']! + values['policy/kl/covariance']!;
    if (operator !== 'dpo') {
      values['policy/kl-weight/mean'] = 1;
      values['policy/kl-weight/covariance'] = 50;
    }
    if (operator === 'mpo')
      values['policy/temperature'] = 3 * Math.exp(-4 * p) + 0.02 + 0.003 * Math.abs(normal());
    else {
      values['policy/acceptRate'] = 0.5;
      values['policy/rejectRate'] = 0.5;
    }
    records.metrics({ ...at, values });
    if (steps % (environmentSteps / 20) === 0) {
      const spread = 14 + 120 * p * (1 - p);
      returns = Array.from({ length: 10 }, () => Math.max(0, plateau * p + spread * normal()));
      if (broken(steps)) returns = returns.map(() => Number.NaN);
      records.evaluation({ ...at, scoreName: 'return', scores: returns });
    }
    if (broken(steps)) break;
  }
  if (seed === 1) records.notice('127.0.0.1:9000: the connection was lost; reconnected after 0.5 s');
  records.close();
  if (finished && divergesAt === undefined) {
    const summary: RunSummary = {
      operator,
      feedback: 'top-k',
      environment: 'cartpole_swingup',
      seed,
      steps: environmentSteps,
      stepUnit: 'environment steps',
      updates: environmentSteps / 2,
      wallSeconds,
      evaluation: {
        scoreName: 'return',
        scoreCount: 10,
        meanScore: mean(returns),
        stdScore: standardDeviation(returns),
      },
    };
    await directory.writeSummary(summary);
  }
  return directory.path;
}

/** Three operators with three seeds each; one seed of dpo diverges. */
export async function writeSyntheticComparison(output: string): Promise<string[]> {
  const plans: SyntheticRun[] = [0, 1, 2].flatMap((seed) => [
    { operator: 'pmpo', seed, plateau: 840 - 12 * seed, halfway: 34_000 + 2500 * seed },
    { operator: 'mpo', seed, plateau: 800 - 30 * seed, halfway: 46_000 - 2000 * seed },
    {
      operator: 'dpo',
      seed,
      plateau: 420 - 60 * seed,
      halfway: 52_000,
      ...(seed === 2 ? { divergesAt: 70_000 } : {}),
    },
  ]);
  const paths: string[] = [];
  for (const plan of plans) paths.push(await writeSyntheticRun(output, plan));
  return paths;
}
