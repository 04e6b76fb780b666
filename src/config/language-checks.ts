import type { LanguageConfig } from './language-schema.js';
import type { Problem } from './problems.js';

/** What the single keys of a language job cannot say: settings that contradict one another. Pure. */
export function languageProblems({ language, reference, learner, feedback }: LanguageConfig): Problem[] {
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });
  const { model, prompts, reward, dataset } = language;

  if (dataset === undefined) {
    if (prompts === undefined) {
      complain(
        'language',
        'names neither prompts nor a dataset',
        'Give language.prompts and language.reward, or language.dataset',
      );
    } else if (reward === undefined) {
      complain('language', 'has prompts and nothing that evaluates completions', 'Give language.reward');
    }
    if (feedback.name === 'label') {
      complain(
        'feedback',
        "'label' reads the labels of a dataset, and completions that are sampled have none",
        'Use another feedback, or give language.dataset',
      );
    }
  } else if (prompts !== undefined) {
    complain(
      'language',
      'names both prompts and a dataset',
      'Give the one that is to be learned from; language.dataset learns without sampling',
    );
  }
  if (model.name === 'embedded') {
    if (model.width % model.heads !== 0) {
      complain('language.model.width', `${model.width} is no multiple of heads, ${model.heads}`);
    } else if ((model.width / model.heads) % 2 !== 0) {
      complain('language.model.heads', `each has ${model.width / model.heads} dimensions, an odd number`);
    }
    if (model.heads % model.keyValueHeads !== 0) {
      complain(
        'language.model.keyValueHeads',
        `${model.keyValueHeads} does not divide heads, ${model.heads}`,
      );
    }
    if (prompts !== undefined && language.sampling.maxTokens >= model.contextLength) {
      complain(
        'language.sampling.maxTokens',
        `${language.sampling.maxTokens} leaves no room for a prompt in a context of ${model.contextLength}`,
        'Lower it, or raise language.model.contextLength',
      );
    }
  } else if (model.sampler !== undefined && model.sampler.publish === undefined && reference !== 'initial') {
    complain(
      'language.model.sampler',
      'would never get the weights of a reference that changes',
      'Give language.model.sampler.publish, or reference: initial, or leave the sampler out',
    );
  }
  if (learner.samples === 1 && dataset === undefined && feedback.name === 'top-k') {
    complain('learner.samples', '1 leaves nothing to compare', 'Give 2 or more, or another feedback');
  }
  return problems;
}
