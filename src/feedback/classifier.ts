import type { Definition } from '../core/registry.js';
import type { Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';

/** What a classifier sees: B contexts, N samples each. */
export interface FeedbackInput {
  /** f(x, y), [N, B]. */
  readonly evaluation: Tensor2D;
  /** [N, B]: 1 where there is a sample. */
  readonly mask: Tensor2D;
  /** V(x), the reference policy's mean evaluation of each context, [B]. */
  readonly baseline: Tensor1D;
  /** The samples themselves, [N, B, …]: actions in their own units for control, padded tokens [N, B, T] for language. */
  readonly samples: Tensor;
  /** The contexts, [B, …]: flattened observations for control, padded tokens [B, T] for language. */
  readonly contexts: Tensor;
}

/** Accept and reject weights in [0, 1], [N, B] each (checked when they arrive). A sample may be neither. */
export interface Feedback {
  readonly accept: Tensor;
  readonly reject: Tensor;
}

/** The same with plain arrays, row-major, for classifiers that are not made of tensor operations. */
export interface HostFeedbackInput {
  readonly samplesPerContext: number;
  readonly contexts: number;
  readonly evaluation: Float32Array;
  readonly mask: Float32Array;
  readonly baseline: Float32Array;
  readonly sampleValues: Float32Array;
  readonly sampleShape: readonly number[];
  readonly contextValues: Float32Array;
  readonly contextShape: readonly number[];
  /** Language: the prompts, [B], and the completions, [N · B], as texts. */
  readonly contextTexts?: readonly string[];
  readonly sampleTexts?: readonly string[];
}

export interface HostFeedback {
  readonly accept: Float32Array;
  readonly reject: Float32Array;
}

/**
 * From evaluations to accept and reject weights. A classifier is either tensor operations (`classify`, traced into the
 * update) or plain code (`classifyOnHost`, called between sampling and improving: judges, services, rules).
 */
export type FeedbackClassifier = {
  /** What it can produce, for the check against the operator's needs. */
  readonly provides: { readonly accepts: boolean; readonly rejects: boolean };
  /** The share of samples rejected where that is fixed beforehand; see OperatorContext. */
  readonly rejectShare?: (samples: number) => number | undefined;
} & (
  | { classify(input: FeedbackInput): Feedback; classifyOnHost?: undefined }
  | { classifyOnHost(input: HostFeedbackInput): HostFeedback | Promise<HostFeedback>; classify?: undefined }
);

export interface FeedbackDefinition<S = Record<string, unknown>> extends Definition {
  /** True when `evaluation` must be the label of a data set: 1 accepted, −1 rejected, 0 neither. Sampled completions have none. */
  readonly readsLabels?: boolean;
  /**
   * True when a sample is accepted or rejected by comparison with the other samples of its context: there must be at least two
   * of them, with scores rather than labels.
   */
  readonly comparesSamples?: boolean;
  /** @param samples N; throws ConfigError when the settings do not fit it (top-k with accept + reject > N). */
  create(settings: S, samples: number): FeedbackClassifier;
  /** The settings with those filled in whose defaults depend on N; absent where none do. */
  complete?(settings: S, samples: number): Record<string, unknown>;
}
