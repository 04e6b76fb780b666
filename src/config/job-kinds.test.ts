import { describe, expect, it } from 'vitest';
import { loadJob, resolveJob, resolveLanguageConfig } from './load.js';
import { parseOverride } from './source.js';

const sampled = `
language:
  model: { name: embedded }
  prompts: { file: prompts.jsonl }
  reward: { name: program, file: reward.ts }
  sampling: { maxTokens: 16 }
`;
const judged = `
language:
  model: { name: embedded }
  dataset: { file: labels.jsonl }
`;
const resolve = (text: string, ...set: string[]) =>
  resolveLanguageConfig('/here/job.yaml', text, set.map(parseOverride));

describe('resolveLanguageConfig', () => {
  it('fills in every default, and means files from where the configuration is', async () => {
    const { config } = await resolve(sampled);
    expect(config.language.prompts).toMatchObject({ file: '/here/prompts.jsonl', heldOut: 64 });
    expect(config.language.reward).toEqual({ name: 'program', file: '/here/reward.ts' });
    expect(config).toMatchObject({
      operator: { name: 'pmpo', alpha: 0.5 },
      feedback: { name: 'top-k', accept: 2, reject: 2 },
      reference: { period: 10 },
      learner: { samples: 4 },
    });
  });

  it('takes what is judged already as it was judged, unless told otherwise', async () => {
    const { config } = await resolve(judged);
    expect(config.feedback).toEqual({ name: 'label' });
    expect(config.learner.samples).toBe(16);
    const scored = await resolve(`${judged}feedback: { name: threshold, value: 0.5 }\n`);
    expect(scored.config.feedback).toEqual({ name: 'threshold', value: 0.5 });
  });

  it.each([
    [sampled, 'language.reward=', /language has prompts and nothing that evaluates|must be/],
    [sampled, 'language.dataset={file: x.jsonl}', /names both prompts and a dataset/],
    [judged, 'language.reward={name: program, file: r.ts}', /language\.reward.*would never be asked/],
    [judged, 'language.kl=sampled', /'sampled' estimates the KL from completions of the reference/],
    [sampled, 'feedback={name: label}', /'label' reads the labels of a dataset/],
    [sampled, 'language.model.heads=3', /width.*is no multiple of heads/],
    [sampled, 'language.model.keyValueHeads=3', /keyValueHeads.*does not divide heads/],
    [sampled, 'language.sampling.maxTokens=64', /leaves no room for a prompt/],
    [sampled, 'learner.samples=1', /top-k|leaves nothing to compare/],
    [sampled, 'operator={name: pmpo, kl: {mean: 2}}', /operator\.kl\.mean.*is of control jobs/],
    [sampled, 'language.modl={name: embedded}', /unknown key\. Did you mean 'model'/],
  ])('%s with %s is refused', async (text, set, message) => {
    await expect(resolve(text, set)).rejects.toThrow(message);
  });

  it.each(['topP=0.9', 'temperature=2', 'minP=0.1', 'repetitionPenalty=1.2', 'presencePenalty=1'])(
    'refuses an estimate of the KL where completions are drawn otherwise: %s',
    async (set) => {
      const [key] = set.split('=');
      await expect(resolve(sampled, 'language.kl=sampled', `language.sampling.${set}`)).rejects.toThrow(
        `completions as the reference gives them, and ${key} changes them`,
      );
    },
  );

  it('takes an estimate of the KL where they are drawn from the reference', async () => {
    await expect(resolve(sampled, 'language.kl=sampled')).resolves.toBeDefined();
  });

  it('refuses a sampler that would never get new weights', async () => {
    const text = `
language:
  model: { name: trainer, address: 'h:1', sampler: { address: 'h:2' } }
  prompts: { file: prompts.jsonl }
  reward: { name: program, file: reward.ts }
`;
    await expect(resolve(text)).rejects.toThrow(/would never get the weights of a reference that changes/);
    await expect(resolve(text, 'reference=initial')).resolves.toBeDefined();
  });
});

describe('jobs of both kinds', () => {
  it('are told apart by what they have', async () => {
    expect((await resolveJob('a.yaml', sampled)).kind).toBe('language');
    expect((await resolveJob('b.yaml', 'environment: { simulator: cartpole_swingup }')).kind).toBe('control');
    await expect(loadJob('/none.yaml')).rejects.toThrow(/there is no such file/);
  });
});
