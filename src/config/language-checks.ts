import type { Problem } from '../core/schema-problems.js';
import type { RegisteredFeedback } from '../feedback/classifier.js';
import { sequenceKl } from '../language/trainable-model.js';
import type { RegisteredOperator } from '../operators/operator.js';
import type { LanguageConfig } from './language-schema.js';

/** The values at which samples follow the model's own distribution. */
const unchangedDistribution = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
} as const;

/** The settings with which samples do not follow the model's own distribution. */
function distributionChanges(sampling: LanguageConfig['language']['sampling']): string[] {
  return Object.entries(unchangedDistribution).flatMap(([key, value]) =>
    sampling[key as keyof typeof unchangedDistribution] === value ? [] : [key],
  );
}

/**
 * Finds settings of a language job that are valid one by one and contradict each other. Pure.
 * @param definitions of the configured operator and classifier.
 */
export function languageProblems(
  config: LanguageConfig,
  definitions: { readonly operator: RegisteredOperator; readonly feedback: RegisteredFeedback },
): Problem[] {
  const { language, reference, learner, feedback, operator } = config;
  const problems: Problem[] = [];
  const complain = (path: string, what: string, remedy?: string) =>
    problems.push({ path: path.split('.'), what, remedy });
  const { model, prompts, reward, dataset } = language;
  const { judge } = config.evaluation;

  if (dataset === undefined) {
    if (prompts === undefined) {
      complain(
        'language',
        'has neither prompts nor a dataset',
        'Set language.prompts and language.reward, or language.dataset',
      );
    } else if (reward === undefined) {
      complain('language', 'has prompts, but no reward that evaluates completions', 'Set language.reward');
    }
    if (definitions.feedback.readsLabels) {
      complain(
        'feedback',
        `'${feedback.name}' reads the labels of a dataset, and sampled completions have none`,
        'Use another feedback, or set language.dataset',
      );
    }
  } else if (prompts !== undefined) {
    complain(
      'language',
      'has both prompts and a dataset',
      'Remove one of them; with language.dataset the model learns without sampling',
    );
  } else if (reward !== undefined) {
    complain(
      'language.reward',
      'has no effect: the completions of a dataset are labeled already',
      'Remove it',
    );
  }
  if (dataset !== undefined && judge !== undefined) {
    complain(
      'evaluation.judge',
      'has no effect: with a dataset no completions are sampled that it could compare',
      'Remove it',
    );
  }
  if (dataset !== undefined && language.kl === 'sampled') {
    complain(
      'language.kl',
      "'sampled' estimates the KL from completions of the reference policy, which those of a dataset are not",
      'Use exact',
    );
  }
  const changed = distributionChanges(language.sampling);
  if (dataset === undefined && language.kl === 'sampled' && changed.length > 0) {
    complain(
      'language.kl',
      `'sampled' estimates the KL from samples of the reference policy, and ${changed.join(', ')} changes their distribution`,
      `Use exact, or remove ${changed.join(', ')} from language.sampling`,
    );
  }
  const { name: _, ...operatorSettings } = operator;
  for (const part of definitions.operator.klParts(operatorSettings)) {
    if (part === sequenceKl) continue;
    complain(
      `operator.kl.${part}`,
      'exists in control jobs only: the KL of sequences has a single part',
      `Set operator.kl.${sequenceKl}, or operator.beta`,
    );
  }
  if (model.name === 'embedded') {
    if (model.width % model.heads !== 0) {
      complain('language.model.width', `${model.width} is not a multiple of heads, ${model.heads}`);
    } else if ((model.width / model.heads) % 2 !== 0) {
      complain(
        'language.model.heads',
        `each head has ${model.width / model.heads} dimensions, which must be an even number`,
      );
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
    complain('language.model.sampler', 'has no effect: with a dataset nothing is sampled', 'Remove it');
  } else if (model.sampler !== undefined && model.sampler.publish === undefined && reference !== 'initial') {
    complain(
      'language.model.sampler',
      'would never receive the weights of the changing reference policy',
      'Set language.model.sampler.publish or reference: initial, or remove the sampler',
    );
  }
  if (learner.samples === 1 && dataset === undefined && definitions.feedback.comparesSamples) {
    complain(
      'learner.samples',
      `1 is too few for '${feedback.name}', which compares the samples of a context`,
      'Set it to 2 or more, or use another feedback',
    );
  }
  return problems;
}
