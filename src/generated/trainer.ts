// Generated from proto/pmpo/v1/trainer.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface Trainer {
  /** Answered at once, as Hold is: also while another call computes. */
  readonly GetInfo: {
    readonly request: GetInfoRequest;
    readonly response: GetInfoResponse;
  };
  /** Log-probs under the policy and under the reference, and the divergences between them. Changes nothing. */
  readonly Score: {
    readonly request: ScoreRequest;
    readonly response: ScoreResponse;
  };
  /** Adds the gradient of a weighted sum to what is accumulated. Splits the batch as its memory requires. */
  readonly ForwardBackward: {
    readonly request: ForwardBackwardRequest;
    readonly response: ForwardBackwardResponse;
  };
  /** One step of the optimizer with the accumulated gradient, which is 0 afterwards. */
  readonly OptimStep: {
    readonly request: OptimStepRequest;
    readonly response: OptimStepResponse;
  };
  /** The reference becomes what the policy is now. */
  readonly CopyReference: {
    readonly request: CopyReferenceRequest;
    readonly response: CopyReferenceResponse;
  };
  /** Hands the reference's weights to whoever samples: to the trainer's own sampling service, and into a folder where asked. */
  readonly Publish: {
    readonly request: PublishRequest;
    readonly response: PublishResponse;
  };
  /** Writes policy, reference and optimizer, or reads them back. */
  readonly Save: {
    readonly request: SaveRequest;
    readonly response: SaveResponse;
  };
  readonly Load: {
    readonly request: LoadRequest;
    readonly response: LoadResponse;
  };
  /**
   * Policy, reference, published weights, optimizer and counts become what they were when the server started, and the gradient
   * under way is forgotten: a new run begins as with a new server.
   */
  readonly Reset: {
    readonly request: ResetRequest;
    readonly response: ResetResponse;
  };
  /**
   * The trainer is the caller's from the one response on, for as long as the call is open: others' Hold, Load and Reset are
   * refused with FAILED_PRECONDITION and its name. A client that dies lets go with its connection.
   */
  readonly Hold: {
    readonly request: HoldRequest;
    readonly response: HoldResponse;
  };
}

export type GetInfoRequest = Record<string, never>;

export interface GetInfoResponse {
  /** The folder or name that the model came from. */
  readonly model?: string;
  readonly architecture?: string;
  readonly vocabularySize?: number;
  readonly contextLength?: number;
  /** SHA-256, hexadecimal, of the vocabulary; see docs: texts mean the same to both sides only if these are equal. */
  readonly vocabularyHash?: string;
  readonly eosTokenIds?: readonly number[];
  readonly bosTokenId?: number;
  /** Those that are trained, and all. */
  readonly trainableParameters?: number;
  readonly parameters?: number;
  /** full, or lora. */
  readonly method?: string;
  readonly device?: string;
  readonly dtype?: string;
  /** Optimizer steps made. */
  readonly steps?: number;
  /** Which weights the sampling service has: rises with each Publish. */
  readonly published?: number;
}

export interface Sequence {
  readonly prompt?: readonly number[];
  /** Scored and trained on; not empty. */
  readonly completion?: readonly number[];
}

export interface ScoreRequest {
  readonly sequences?: readonly Sequence[];
  readonly policy?: boolean;
  readonly reference?: boolean;
  /** KL(reference ‖ policy), exact over the vocabulary at each token. */
  readonly kl?: boolean;
  /** KL(policy ‖ reference). */
  readonly reverseKl?: boolean;
}

/** Of one sequence, nats, [T_i] each; empty where it was not asked for. */
export interface SequenceScore {
  readonly logProb?: readonly number[];
  readonly referenceLogProb?: readonly number[];
  readonly kl?: readonly number[];
  readonly reverseKl?: readonly number[];
}

export interface ScoreResponse {
  /** [S] */
  readonly scores?: readonly SequenceScore[];
}

/**
 * What each sequence's terms are multiplied by. One number counts for all tokens of the completion, T_i numbers for each its
 * own; none stands for 0.
 */
export interface Coefficients {
  readonly logProb?: readonly number[];
  readonly kl?: readonly number[];
  readonly reverseKl?: readonly number[];
}

export interface ForwardBackwardRequest {
  readonly sequences?: readonly Sequence[];
  /** [S] */
  readonly coefficients?: readonly Coefficients[];
}

export interface ForwardBackwardResponse {
  /** As Score's, at the parameters the gradient was taken at: the log-probs, and the divergences that had coefficients. */
  readonly scores?: readonly SequenceScore[];
  /** The weighted sum itself. */
  readonly value?: number;
}

export interface OptimStepRequest {
  readonly learningRate?: number;
  /** The gradient is scaled down to this norm; 0: never. */
  readonly maxGradientNorm?: number;
}

export interface OptimStepResponse {
  /** Before scaling. */
  readonly gradientNorm?: number;
  readonly steps?: number;
}

export interface CopyReferenceRequest {
  /** Absent or 1: a copy. Else reference ← (1 − rate) · reference + rate · policy. */
  readonly rate?: number;
}

export type CopyReferenceResponse = Record<string, never>;

export interface PublishRequest {
  /** A folder on the trainer's machine for the weights as well, as an adapter or a checkpoint that vLLM loads; empty: none. */
  readonly folder?: string;
  /** The policy's weights in place of the reference's. */
  readonly policy?: boolean;
}

export interface PublishResponse {
  readonly published?: number;
  /** Where they are on the trainer's machine; empty where no folder was asked for. */
  readonly folder?: string;
}

export interface SaveRequest {
  readonly folder?: string;
}

export type SaveResponse = Record<string, never>;

export interface LoadRequest {
  readonly folder?: string;
  /** The name that the caller holds the trainer by, if it does. */
  readonly holder?: string;
}

export type LoadResponse = Record<string, never>;

export interface ResetRequest {
  /** As Load's. */
  readonly holder?: string;
}

export type ResetResponse = Record<string, never>;

export interface HoldRequest {
  /** Who it is, for whoever is refused: a run and its machine. Not empty. */
  readonly holder?: string;
}

export type HoldResponse = Record<string, never>;
