import type { Problem } from '../core/schema-problems.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import { sequenceKl } from '../language/trainable-model.js';
import type { RegisteredOperator } from '../operators/operator.js';
import type { LanguageConfig } from './language-schema.js';

const asTheModelGives = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
} as const;

/** The settings whose values are others than these. */
function changes(
  sampling: LanguageConfig['language']['sampling'],
  neutral: Partial<typeof asTheModelGives>,
): string[] {
  return Object.entries(neutral).flatMap(([key, value]) =>
    sampling[key as keyof typeof asTheModelGives] === value ? [] : [key],
  );
}

/** What the single keys of a language job cannot say: settings that contradict one another. Pure. */
export function languageProblems(
  config: LanguageConfig,
  definitions: { readonly operator: RegisteredOperator; readonly feedback: RegisteredFeedback },
): Problem[] {
  const { language, reference, learner, feedback, operator } = config;
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
    if (definitions.feedback.readsLabels) {
      complain(
        'feedback',
        `'${feedback.name}' reads the labels of a dataset, and completions that are sampled have none`,
        'Use another feedback, or give language.dataset',
      );
    }
  } else if (prompts !== undefined) {
    complain(
      'language',
      'names both prompts and a dataset',
      'Give the one that is to be learned from; language.dataset learns without sampling',
    );
  } else if (reward !== undefined) {
    complain('language.reward', 'would never be asked: a dataset is judged already', 'Leave it out');
  }
  if (dataset !== undefined && language.kl === 'sampled') {
    complain(
      'language.kl',
      "'sampled' estimates the KL from completions of the reference, and those of a dataset are not",
      'Use exact',
    );
  }
  const changed = changes(language.sampling, asTheModelGives);
  if (dataset === undefined && language.kl === 'sampled' && changed.length > 0) {
    complain(
      'language.kl',
      `'sampled' estimates the KL from completions as the reference gives them, and ${changed.join(', ')} changes them`,
      `Use exact, or leave language.sampling without ${changed.join(', ')}`,
    );
  }
  const { name: _, ...operatorSettings } = operator;
  for (const part of definitions.operator.klParts(operatorSettings)) {
    if (part === sequenceKl) continue;
    complain(
      `operator.kl.${part}`,
      'is of control jobs: the KL of sequences has one part',
      `Set operator.kl.${sequenceKl}, or operator.beta`,
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
  } else if (model.sampler !== undefined && dataset !== undefined) {
    complain('language.model.sampler', 'would never be asked: nothing is sampled', 'Leave it out');
  } else if (model.sampler !== undefined && model.sampler.publish === undefined && reference !== 'initial') {
    complain(
      'language.model.sampler',
      'would never get the weights of a reference that changes',
      'Give language.model.sampler.publish, or reference: initial, or leave the sampler out',
    );
  }
  if (learner.samples === 1 && dataset === undefined && definitions.feedback.comparesSamples) {
    complain('learner.samples', '1 leaves nothing to compare', 'Give 2 or more, or another feedback');
  }
  return problems;
}
