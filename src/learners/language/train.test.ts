import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TabularModel } from '../../../test/support/tabular-model.js';
import { resolveLanguageConfig } from '../../config/load.js';
import { parseOverride } from '../../config/source.js';
import { randomKey } from '../../core/random-keys.js';
import { mean } from '../../core/statistics.js';
import { createEngine } from '../../engine/create.js';
import type { Reward } from '../../language/rewards/reward.js';
import { createOperatorRegistry } from '../../operators/registry.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { EvaluationRecord, LanguageEvaluation, MetricRecord } from '../../run/records.js';
import type { Prompt } from './batch.js';
import { PromptBatches } from './prompt-batches.js';
import { trainLanguage } from './train.js';
import type { HeldOutJudge } from './train-options.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-language-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const operators = createOperatorRegistry();

const prompts: Prompt[] = ['ab', 'bc', 'ca', 'cc', 'ba'].map((text) => ({
  text,
  tokens: Int32Array.from(text, (letter) => letter.charCodeAt(0) - 96),
  row: { prompt: text },
}));

/** The share of c among the letters; its maximum is 1. */
const reward: Reward = {
  evaluate: async (completions) =>
    completions.map(({ completion }) =>
      completion === '' ? 0 : [...completion].filter((letter) => letter === 'c').length / completion.length,
    ),
  close: async () => {},
};

interface Options {
  /** Settings as in `--set key=value`. */
  readonly set?: readonly string[];
  readonly resume?: Checkpoint;
  /** The folder with the checkpoints of the job to resume. */
  readonly where?: string;
  readonly stopAfter?: number;
  /** Stop when this number of completions has been requested. */
  readonly stopAtSample?: number;
  /** Stop when the sampler loads the reference's weights for this time. */
  readonly stopAtPublish?: number;
  readonly model?: TabularModel;
  readonly reward?: Reward;
  readonly judge?: HeldOutJudge;
  /** Stop when the evaluation after this number of updates is judged. */
  readonly stopAtJudge?: number;
}

async function train({
  set = [],
  resume,
  where,
  stopAfter,
  stopAtSample,
  stopAtPublish,
  model,
  reward: own = reward,
  judge,
  stopAtJudge,
}: Options = {}) {
  const text = `
language:
  model: { name: embedded, contextLength: 8 }
  prompts: { file: none.jsonl }
  reward: { name: program, file: none.ts }
  sampling: { maxTokens: 4 }
learner: { updates: 24, batchSize: 4, learningRate: 1 }
operator: { name: pmpo, beta: 1 }
reference: { period: 3 }
evaluation: { every: 8 }
checkpoint: { every: 5 }
`;
  const { config, operator, classifier } = await resolveLanguageConfig(
    'test.yaml',
    text,
    set.map(parseOverride),
  );
  const engine = await createEngine('onnx', { threads: 1 });
  const tabular = model ?? new TabularModel({ positions: 4, vocabulary: 4 });
  const notices: string[] = [];
  const metrics: MetricRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const checkpoints: Checkpoint[] = [];
  const kept = new Map<number, LanguageEvaluation>();
  const stop = new AbortController();
  const place = where ?? (await mkdtemp(join(folder, 'run-')));
  tabular.onSample = (count) => {
    if (count === stopAtSample) stop.abort();
  };
  let published = 0;
  const publishReference = async () => {
    published += 1;
    if (published === stopAtPublish) stop.abort();
    if (stop.signal.aborted) throw new Error('the command was stopped');
    await tabular.publish('reference');
  };
  const judgeOrStop: HeldOutJudge = async (policy, base, signal) => {
    if (policy.updates !== stopAtJudge) return judge?.(policy, base, signal) ?? {};
    stop.abort();
    throw new Error('the command was stopped');
  };
  const evaluationOptions = { sampler: tabular.sampler, reward: own, sampling: config.language.sampling };
  try {
    const result = await trainLanguage({
      config: {
        ...config,
        kl: config.language.kl,
        sampling: config.language.sampling,
      },
      engine,
      model: tabular,
      operator,
      classifier,
      samplers: {
        reference: tabular.sampler,
        policy: tabular.sampler,
        publishReference,
        publishPolicy: () => tabular.publish('policy'),
      },
      source: new PromptBatches(
        prompts,
        { ...evaluationOptions, batchSize: config.learner.batchSize, samples: config.learner.samples },
        randomKey(3),
      ),
      heldOut: { prompts: prompts.slice(0, 2), reward: own, judge: judgeOrStop },
      observer: {
        progress: (_, updates) => {
          if (updates === stopAfter) stop.abort();
        },
        metrics: (record) => metrics.push(record),
        evaluation: (record) => evaluations.push(record),
        notice: (message) => notices.push(message),
        checkpoint: async (_, checkpoint) => void checkpoints.push(checkpoint),
        completions: async (evaluation) => void kept.set(evaluation.updates, evaluation),
        completionsAt: async (updates) => kept.get(updates),
        modelName: (index) => `model-${index}`,
        modelFolder: (name) => join(place, name),
      },
      resume,
      signal: stop.signal,
      clock: () => performance.now(),
    });
    return { result, notices, metrics, evaluations, checkpoints, kept, model: tabular, where: place };
  } finally {
    await engine.dispose();
  }
}

describe('trainLanguage', () => {
  it.each([
    ['both sides', 'operator={name: pmpo, beta: 1}'],
    ['accepted completions', 'operator={name: pmpo, alpha: 1}'],
    ['rejected completions', 'operator={name: pmpo, alpha: 0, beta: 3}'],
    [
      'rejected completions with a sampled KL',
      'operator={name: pmpo, alpha: 0, beta: 3}',
      'language.kl=sampled',
    ],
    ['pairs', 'operator={name: dpo, beta: 0.5}'],
    ['evaluations as numbers', 'operator={name: mpo, initialTemperature: 0.1}'],
    ['both sides with the reverse KL', 'operator={name: pmpo, reverseKl: true}'],
    [
      'both sides, by the batch and the advantages',
      'operator={name: pmpo, normalise: batch, advantageScale: 0.5}',
    ],
    ['log-probs of a token', 'operator={name: pmpo, perToken: true}'],
    ['labels, with mismatched pairs', 'operator={name: kto, beta: 1, referencePoint: mismatched}'],
    // By its default, β = 0.1, KTO learns over thousands of tokens; these completions have three or four.
    ['labels without pairs', 'operator={name: kto, beta: 1}'],
    ...operators
      .names()
      .filter((name) => !['pmpo', 'mpo', 'dpo', 'kto'].includes(name))
      .map((name): [string, string] => [`what ${name} reads, with its defaults`, `operator={name: ${name}}`]),
  ])('learns from %s', async (_, ...set) => {
    const { evaluations, result } = await train({ set });
    expect(evaluations.map(({ updates }) => updates)).toEqual([0, 8, 16, 24]);
    expect(mean(evaluations.at(-1)!.scores)).toBeGreaterThan(mean(evaluations[0]!.scores) + 0.1);
    expect(result).toMatchObject({ updates: 24, interrupted: false });
    expect(result.samples).toBe(24 * 4 * (set[0]!.includes('name: mpo') ? 20 : 4));
  });

  it('samples from the reference, updates it when due, and evaluates the policy', async () => {
    const { model } = await train({ set: ['learner.updates=4', 'learner.overlap=false'] });
    const evaluation = ['publish policy', 'sample', 'sample'];
    const update = [...Array(4).fill('sample'), 'score', 'forwardBackward with KL', 'score', 'optimStep'];
    expect(model.calls).toEqual([
      'reset',
      'publish reference',
      ...evaluation,
      'publish reference',
      ...update,
      ...update,
      ...update,
      'copyReference',
      'publish reference',
      ...update,
      ...evaluation,
    ]);
  });

  it('records at each evaluation what a judge says of it and of the base model, and how diverse it is', async () => {
    const seen: [number, number, number][] = [];
    const judge: HeldOutJudge = async (policy, base) => {
      seen.push([policy.updates, base.updates, policy.completions.length]);
      return { 'evaluation/judgeWinRate': policy.updates / 24 };
    };
    const { metrics } = await train({ judge });
    expect(seen).toEqual([0, 8, 16, 24].map((updates) => [updates, 0, 2]));
    const recorded = metrics.filter(({ values }) => 'evaluation/winRate' in values);
    expect(recorded.map(({ values }) => values['evaluation/judgeWinRate'])).toEqual([0, 8 / 24, 16 / 24, 1]);
    // Completions are words of one, because the letters have no spaces between them: they have no pairs of words.
    for (const { values } of recorded) {
      expect(values['evaluation/words']).toBeLessThanOrEqual(1);
      expect(values).not.toHaveProperty('evaluation/distinct2');
    }
  });

  it('goes on without the metrics of a judge that fails, and says so', async () => {
    const judge: HeldOutJudge = async ({ updates }) => {
      if (updates === 8) throw new Error('the judge is away');
      return { 'evaluation/judgeWinRate': 0.5 };
    };
    const { result, notices, metrics, evaluations, kept } = await train({ judge });
    expect(result).toMatchObject({ updates: 24, interrupted: false });
    expect(notices).toEqual([
      'Warning: the judge failed, so the evaluation after 8 updates has no metrics of it. the judge is away',
    ]);
    expect(evaluations.map(({ updates }) => updates)).toEqual([0, 8, 16, 24]);
    expect([...kept.keys()]).toEqual([0, 8, 16, 24]);
    const recorded = metrics.filter(({ values }) => 'evaluation/winRate' in values);
    expect(recorded.map(({ values }) => values['evaluation/judgeWinRate'])).toEqual([
      0.5,
      undefined,
      0.5,
      0.5,
    ]);
  });

  it('stopped while it is judged, evaluates again when it is resumed', async () => {
    const whole = await train();
    const stopped = await train({ stopAtJudge: 8 });
    expect(stopped.result).toMatchObject({ interrupted: true, updates: 8 });
    expect(stopped.notices).toEqual([]);
    const resumed = await train({ resume: stopped.checkpoints.at(-1), where: stopped.where });
    const all = [...stopped.evaluations, ...resumed.evaluations];
    expect(all.map((e) => [e.updates, e.scores])).toEqual(
      whole.evaluations.map((e) => [e.updates, e.scores]),
    );
  });

  it('requests the exact KL only if it is learned from', async () => {
    const { model } = await train({ set: ['learner.updates=4', 'language.kl=sampled'] });
    expect(model.calls.filter((call) => call.startsWith('forwardBackward'))).toEqual(
      Array(4).fill('forwardBackward'),
    );
  });

  it('warns of a reward that is the same for all completions', async () => {
    const same: Reward = { evaluate: async (of) => of.map(() => 1), close: async () => {} };
    const { notices } = await train({ set: ['learner.updates=2'], reward: same });
    expect(notices).toEqual([
      'Warning: all 16 completions of the first batch have the reward 1. Nothing can be learned from equal rewards; check language.reward',
    ]);
  });

  it.each(['pmpo', 'dpo'])(
    'ends a job of %s whose KL passes learner.maxKl, with a checkpoint',
    async (name) => {
      const where = await mkdtemp(join(folder, 'far-'));
      const set = ['learner.maxKl=0.01', `operator={name: ${name}}`, 'reference=initial'];
      await expect(train({ set, where })).rejects.toThrow(/the KL between .* and learner\.maxKl is 0\.01/);
      expect(await readdir(where)).toEqual(['model-1']);
    },
  );

  it('resets a model that has learned before, and notifies the user', async () => {
    const fresh = await train();
    const again = await train({ model: fresh.model, set: ['operator={name: dpo, beta: 0.5}'] });
    const other = await train({ set: ['operator={name: dpo, beta: 0.5}'] });
    expect(fresh.notices).toEqual([]);
    expect(again.notices).toEqual(['tabular had already made 24 steps and was reset to its initial weights']);
    expect(again.model.policy).toEqual(other.model.policy);
    expect(again.model.info.steps).toBe(24);
  });

  it('gives the same result with and without sampling ahead', async () => {
    const [ahead, waiting] = await Promise.all([train(), train({ set: ['learner.overlap=false'] })]);
    expect(ahead.model.policy).toEqual(waiting.model.policy);
    expect(ahead.model.calls).not.toEqual(waiting.model.calls);
  });

  it.each([4, 5, 7])(
    'stopped after %i updates and resumed, gives the same result as without a stop',
    async (stopAfter) => {
      const set = ['operator={name: mpo}', 'learner.samples=4'];
      const whole = await train({ set });
      const stopped = await train({ set, stopAfter });
      expect(stopped.result).toMatchObject({ interrupted: true, updates: stopAfter });
      const resumed = await train({ set, resume: stopped.checkpoints.at(-1), where: stopped.where });
      expect(resumed.model.policy).toEqual(whole.model.policy);
      expect(resumed.result.samples).toBe(whole.result.samples);
      expect(resumed.evaluations.at(-1)!.scores).toEqual(whole.evaluations.at(-1)!.scores);
    },
  );

  // The first evaluation requests 2 completions, each update 4; another evaluation follows the eighth update.
  it.each([
    [1, 0, true],
    [7, 1, false],
    [2 + 8 * 4 + 1, 8, true],
  ])('stopped while completion %i is sampled, keeps its %i updates and resumes', async (at, updates, due) => {
    const set = ['learner.overlap=false'];
    const whole = await train({ set });
    const stopped = await train({ set, stopAtSample: at });
    expect(stopped.result).toMatchObject({ interrupted: true, updates });
    expect(stopped.checkpoints.at(-1)!.metadata).toMatchObject({ evaluationDue: due });
    const resumed = await train({ set, resume: stopped.checkpoints.at(-1), where: stopped.where });
    expect(resumed.model.policy).toEqual(whole.model.policy);
    const all = [...stopped.evaluations, ...resumed.evaluations];
    expect(all.map((e) => [e.updates, e.scores])).toEqual(
      whole.evaluations.map((e) => [e.updates, e.scores]),
    );
  });

  // Weights are published at the start, after the first evaluation, and after the third update, which changes the reference.
  it.each([
    [1, 0],
    [2, 0],
    [3, 3],
  ])(
    'stopped while weights are published for time %i, keeps its %i updates and resumes',
    async (at, updates) => {
      const whole = await train();
      const stopped = await train({ stopAtPublish: at });
      expect(stopped.result).toMatchObject({ interrupted: true, updates });
      const resumed = await train({ resume: stopped.checkpoints.at(-1), where: stopped.where });
      expect(resumed.model.policy).toEqual(whole.model.policy);
    },
  );

  it('fails if weights cannot be published', async () => {
    const model = new TabularModel({ positions: 4, vocabulary: 4 });
    model.publish = async () => {
      throw new Error('no room');
    };
    await expect(train({ model })).rejects.toThrow('no room');
  });

  it('leaves out completions that could not be evaluated, and fails if they are the majority', async () => {
    const some: Reward = {
      ...reward,
      evaluate: async (c) => (await reward.evaluate(c)).map((value, i) => (i % 3 === 0 ? undefined : value)),
    };
    const { metrics } = await train({ reward: some });
    expect(
      metrics.find(({ values }) => 'completion/judgedRate' in values)!.values['completion/judgedRate'],
    ).toBeCloseTo(2 / 3, 1);
    const none: Reward = { ...reward, evaluate: async (c) => c.map(() => undefined) };
    await expect(train({ reward: none })).rejects.toThrow(/2 of 2 completions could not be evaluated/);
  });
});
