// Generated from proto/pmpo/v1/feedback.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface Feedback {
  /** Lists the classifiers of this service. */
  readonly GetInfo: {
    readonly request: FeedbackInfoRequest;
    readonly response: FeedbackInfoResponse;
  };
  /** Judges all samples of some contexts. Calls may arrive at the same time, and a call that was lost is sent again. */
  readonly Classify: {
    readonly request: ClassifyRequest;
    readonly response: ClassifyResponse;
  };
}

export type FeedbackInfoRequest = Record<string, never>;

export interface FeedbackInfoResponse {
  readonly classifiers?: readonly ClassifierInfo[];
}

export interface ClassifierInfo {
  readonly name?: string;
  /** Which weights it can give. An operator that needs others is refused before the run. */
  readonly accepts?: boolean;
  readonly rejects?: boolean;
}

export interface Values {
  /** Lengths of the axes. */
  readonly shape?: readonly number[];
  /** Row-major. */
  readonly values?: readonly number[];
}

export interface ClassifyRequest {
  /** Which of the service's classifiers. */
  readonly classifier?: string;
  /** N */
  readonly samplesPerContext?: number;
  /** B */
  readonly contexts?: number;
  /** f(x, y), [N, B]. */
  readonly evaluation?: readonly number[];
  /** 1 where a sample is present, 0 elsewhere, [N, B]. Weights of absent samples are ignored. */
  readonly mask?: readonly number[];
  /** V(x), [B]. */
  readonly baseline?: readonly number[];
  /** The samples, [N, B, …]: actions in the environment's units, or padded tokens. */
  readonly samples?: Values;
  /** The contexts, [B, …]: flattened observations, or padded tokens. */
  readonly observations?: Values;
  /** The texts of the completions, [N · B]; language jobs only. */
  readonly sampleTexts?: readonly string[];
  /** The texts of the prompts, [B]; language jobs only. */
  readonly contextTexts?: readonly string[];
}

export interface ClassifyResponse {
  /** Weights in [0, 1], [N, B] each. */
  readonly accept?: readonly number[];
  readonly reject?: readonly number[];
}
