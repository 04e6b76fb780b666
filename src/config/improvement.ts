import { ConfigError, PmpoError } from '../core/errors.js';
import type { KeyPath } from '../core/key-path.js';
import type { FeedbackClassifier } from '../feedback/classifier.js';
import { checkNeeds, type JobProvides } from '../operators/needs.js';
import type { Operator } from '../operators/operator.js';
import type { Catalogue } from './catalogue.js';
import type { ConfigSource } from './source.js';

/** A group that chooses a definition by its name, with that definition's settings. */
export type Named = { readonly name: string } & Record<string, unknown>;

/** The operator and the feedback classifier of a configuration. */
export interface Improvement {
  readonly operator: Operator;
  readonly classifier: FeedbackClassifier;
  /** Sentences about settings that are legal and risky, shown before a run starts. */
  readonly warnings: readonly string[];
}

/** Calls `create`. @throws ConfigError at `path` for anything that `create` throws. */
function createAt<T>(source: ConfigSource, path: KeyPath, create: () => T): T {
  try {
    return create();
  } catch (cause) {
    const where = source.where(path);
    if (!(cause instanceof PmpoError)) {
      throw new ConfigError({ where, what: cause instanceof Error ? cause.message : String(cause), cause });
    }
    const { what, remedy } = cause.details;
    throw new ConfigError({ where, what, remedy, cause });
  }
}

/** The settings of a group, without the name. */
export function settingsOf({ name: _, ...settings }: Named): Record<string, unknown> {
  return settings;
}

/**
 * Creates the operator and the feedback classifier that a configuration names, and checks that they fit each other.
 * @param samples N, on which the classifier's defaults depend.
 * @param job what the job gives to its operator, the parts that its KL can have, and the warnings that it makes of the operator's own.
 * @returns both, and their groups with every default filled in.
 * @throws ConfigError with the place of what does not fit.
 */
export function createImprovement(
  source: ConfigSource,
  catalogue: Catalogue,
  config: { readonly operator: Named; readonly feedback: Named },
  samples: number,
  job: Omit<JobProvides, 'samples'> & {
    readonly klParts: readonly string[];
    readonly warnings?: (
      operator: Operator,
      rejectShare: number | undefined,
      own: readonly string[],
    ) => readonly string[];
  },
): { readonly improvement: Improvement; readonly operator: Named; readonly feedback: Named } {
  const operatorDefinition = catalogue.operators.get(config.operator.name);
  const operatorSettings = operatorDefinition.complete(settingsOf(config.operator), job.klParts);
  const operator = createAt(source, ['operator'], () => operatorDefinition.create(operatorSettings));
  const feedbackDefinition = catalogue.feedback.get(config.feedback.name);
  const given = settingsOf(config.feedback);
  const settings = feedbackDefinition.complete(given, samples);
  const classifier = createAt(source, ['feedback'], () => feedbackDefinition.create(settings, samples));
  createAt(source, ['operator'], () =>
    checkNeeds(config.operator.name, operator.needs, config.feedback.name, classifier.provides, {
      ...job,
      samples,
    }),
  );
  const rejectShare = classifier.rejectShare?.(samples);
  // How many of a data set's labels reject is known when it has been read.
  const own =
    feedbackDefinition.readsLabels === true ? [] : (operator.warnings?.({ rejectShare, samples }) ?? []);
  const warnings =
    feedbackDefinition.readsLabels === true ? [] : (job.warnings?.(operator, rejectShare, own) ?? own);
  return {
    improvement: { operator, classifier, warnings },
    operator: { name: config.operator.name, ...operatorSettings },
    feedback: { name: config.feedback.name, ...settings },
  };
}
