import type { z } from 'zod';
import type { Definition } from '../core/registry.js';
import type { Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';

/**
 * Feedback: accept and reject weights of samples, made by a classifier from their evaluations. A classifier does not know which
 * operator reads its weights.
 *
 * Shapes: N samples per context, B contexts, T tokens.
 */

/** What a classifier of tensor operations reads. */
export interface FeedbackInput {
  /** f(x, y), [N, B]. */
  readonly evaluation: Tensor2D;
  /** 1 where a sample is present, 0 elsewhere, [N, B]. */
  readonly mask: Tensor2D;
  /** V(x), the mean evaluation of the reference policy's samples of each context, [B]. */
  readonly baseline: Tensor1D;
  /** The samples, [N, B, …]: actions in the environment's units, or padded tokens [N, B, T]. */
  readonly samples: Tensor;
  /** The contexts, [B, …]: flattened observations, or padded tokens [B, T]. */
  readonly contexts: Tensor;
}

/** Accept and reject weights in [0, 1], [N, B] each. A sample may be neither, or partly both. */
export interface Feedback {
  readonly accept: Tensor;
  readonly reject: Tensor;
}

/** What a classifier of plain code reads: the same as `FeedbackInput` in row-major arrays. */
export interface HostFeedbackInput {
  /** N */
  readonly samplesPerContext: number;
  /** B */
  readonly contexts: number;
  /** f(x, y), [N, B]. */
  readonly evaluation: Float32Array;
  /** 1 where a sample is present, 0 elsewhere, [N, B]. */
  readonly mask: Float32Array;
  /** V(x), [B]. */
  readonly baseline: Float32Array;
  /** The samples, of the shape `sampleShape` [N, B, …]. */
  readonly sampleValues: Float32Array;
  readonly sampleShape: readonly number[];
  /** The contexts, of the shape `contextShape` [B, …]. */
  readonly contextValues: Float32Array;
  readonly contextShape: readonly number[];
  /** The texts of the prompts, [B]; language jobs only. */
  readonly contextTexts?: readonly string[];
  /** The texts of the completions, [N · B]; language jobs only. */
  readonly sampleTexts?: readonly string[];
}

/** Accept and reject weights in [0, 1], [N, B] each, row-major. */
export interface HostFeedback {
  readonly accept: Float32Array;
  readonly reject: Float32Array;
}

interface ClassifierTraits {
  /** Which feedback it can produce: checked against the operator's needs before a run starts. */
  readonly provides: { readonly accepts: boolean; readonly rejects: boolean };
  /** The share of N samples that is rejected, if it is the same for every context; else undefined. */
  readonly rejectShare?: (samples: number) => number | undefined;
}

/** A classifier of tensor operations, which becomes part of the compiled update. */
export interface TensorClassifier extends ClassifierTraits {
  classify(input: FeedbackInput): Feedback;
  readonly classifyOnHost?: undefined;
}

/** What a classifier of plain code may do while it opens. */
export interface ClassifierContext {
  /** Shows the user a message that does not end the run, for example that a service came back. */
  readonly notice: (message: string) => void;
}

/** A classifier of plain code (a rule, a service, a judge), which runs between sampling and improving. */
export interface HostClassifier extends ClassifierTraits {
  /** The longest time that one call may take, in seconds; default: `defaultDeadlineSeconds`. */
  readonly deadlineSeconds?: number;
  /**
   * Connects to what the classifier needs, before the run writes anything. Left out: it needs nothing.
   * @throws PmpoError if it cannot be reached.
   */
  open?(context: ClassifierContext): Promise<void>;
  /** @param signal aborted when the answer is not needed any more: the run was stopped, or the deadline has passed. */
  classifyOnHost(input: HostFeedbackInput, signal: AbortSignal): HostFeedback | Promise<HostFeedback>;
  /** Ends what `open` began. Called once, however the run ends. */
  close?(): Promise<void>;
  readonly classify?: undefined;
}

/** From evaluations to accept and reject weights. */
export type FeedbackClassifier = TensorClassifier | HostClassifier;

/**
 * A built-in classifier, which reads nothing but evaluations: in a program of your own,
 * `topK({ accept: 2, reject: 2 }).classify({ evaluation })`.
 */
export interface EvaluationClassifier extends ClassifierTraits {
  /**
   * @param input `evaluation`: f(x, y), [N, B]; `mask`: 1 where a sample is present, [N, B], by default every sample; `baseline`: V(x),
   *   [B], by default the mean evaluation of the context's samples
   * @returns accept and reject weights, [N, B] each
   */
  classify(input: EvaluationInput): { readonly accept: Tensor2D; readonly reject: Tensor2D };
  readonly classifyOnHost?: undefined;
}

/** What a built-in classifier reads; see `EvaluationClassifier`. */
export type EvaluationInput = Pick<FeedbackInput, 'evaluation'> &
  Partial<Pick<FeedbackInput, 'mask' | 'baseline'>>;

/** What a configuration is checked against before a classifier is made. */
interface FeedbackTraits extends Definition {
  /** Whether `evaluation` must be the label of a data set: 1 accepted, −1 rejected, 0 neither. Sampled completions have none. */
  readonly readsLabels?: boolean;
  /**
   * The settings that are paths, as keys such as `file` or `tls.ca`: relative paths are resolved from the configuration's folder.
   */
  readonly fileSettings?: readonly string[];
  /** Whether a sample is judged against the others of its context, of which there must be at least two with scores. */
  readonly comparesSamples?: boolean;
}

/** A classifier by name, with the schema of its settings. Plugins register such definitions. */
export interface FeedbackDefinition<S extends z.ZodObject = z.ZodObject> extends FeedbackTraits {
  readonly settings: S;
  /**
   * The classifier with the given settings, which have passed the schema.
   * @param samples N
   * @throws ConfigError if the settings do not fit N (top-k that accepts and rejects more than N samples).
   */
  create(settings: z.output<S>, samples: number): FeedbackClassifier;
  /** Fills in the settings whose defaults depend on N. Left out: none do. */
  complete?(settings: z.output<S>, samples: number): z.output<S>;
}

/** A registered classifier: `create` and `complete` take any settings and check them by the schema. */
export interface RegisteredFeedback extends FeedbackTraits {
  /**
   * The classifier with the given settings, defaults filled in.
   * @param samples N
   * @throws ConfigError naming each setting that is unknown or out of range, or that does not fit N.
   */
  create(settings: unknown, samples: number): FeedbackClassifier;
  /** The given settings with every default filled in, those that depend on N included. @throws ConfigError as `create`. */
  complete(settings: unknown, samples: number): Record<string, unknown>;
}
