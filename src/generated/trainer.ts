// Generated from proto/pmpo/v1/trainer.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface Trainer {
  /** Describes the model. Like Hold, it is answered at once, even while another call computes. */
  readonly GetInfo: {
    readonly request: GetInfoRequest;
    readonly response: GetInfoResponse;
  };
  /** Computes log-probs under the policy and the reference, and the divergences between them. Changes nothing. */
  readonly Score: {
    readonly request: ScoreRequest;
    readonly response: ScoreResponse;
  };
  /** Adds the gradient of a weighted sum to the accumulated gradient. The trainer splits the batch to fit its memory. */
  readonly ForwardBackward: {
    readonly request: ForwardBackwardRequest;
    readonly response: ForwardBackwardResponse;
  };
  /** Takes one optimizer step with the accumulated gradient, and resets the gradient to 0. */
  readonly OptimStep: {
    readonly request: OptimStepRequest;
    readonly response: OptimStepResponse;
  };
  /** Copies the policy to the reference. */
  readonly CopyReference: {
    readonly request: CopyReferenceRequest;
    readonly response: CopyReferenceResponse;
  };
  /** Publishes the reference's weights for sampling: to the trainer's own sampling service, and to a folder if requested. */
  readonly Publish: {
    readonly request: PublishRequest;
    readonly response: PublishResponse;
  };
  /** Saves policy, reference and optimizer; Load restores them. */
  readonly Save: {
    readonly request: SaveRequest;
    readonly response: SaveResponse;
  };
  readonly Load: {
    readonly request: LoadRequest;
    readonly response: LoadResponse;
  };
  /**
   * Restores the policy, the reference, the published weights, the optimizer and all counts from the start of the server, and
   * drops the accumulated gradient, so that a new run begins as on a new server.
   */
  readonly Reset: {
    readonly request: ResetRequest;
    readonly response: ResetResponse;
  };
  /**
   * Reserves the trainer for the caller, from the single response on and while the call is open: Hold, Load and Reset of other
   * clients are refused with FAILED_PRECONDITION and the holder's name. The connection of a client that dies releases it.
   */
  readonly Hold: {
    readonly request: HoldRequest;
    readonly response: HoldResponse;
  };
}

export type GetInfoRequest = Record<string, never>;

export interface GetInfoResponse {
  /** The folder or name that the model was loaded from. */
  readonly model?: string;
  readonly architecture?: string;
  readonly vocabularySize?: number;
  readonly contextLength?: number;
  /** The SHA-256 of the vocabulary, in hexadecimal. Both sides encode texts alike only if their hashes are equal. */
  readonly vocabularyHash?: string;
  readonly eosTokenIds?: readonly number[];
  readonly bosTokenId?: number;
  /** The number of parameters that are trained; `parameters` counts all. */
  readonly trainableParameters?: number;
  readonly parameters?: number;
  /** full, or lora. */
  readonly method?: string;
  readonly device?: string;
  readonly dtype?: string;
  /** The number of optimizer steps taken. */
  readonly steps?: number;
  /** The version of the weights in the sampling service; each Publish increments it. */
  readonly published?: number;
}

export interface Sequence {
  readonly prompt?: readonly number[];
  /** The tokens to score and train on; not empty. */
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

/** The scores of one sequence, in nats, [T_i] each; empty if not requested. */
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
 * The coefficients of one sequence's terms: one number for all tokens of the completion, T_i numbers for one each, or none
 * for 0.
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
  /** The scores at the parameters of the gradient: the log-probs, and the divergences that have coefficients. */
  readonly scores?: readonly SequenceScore[];
  /** The value of the weighted sum. */
  readonly value?: number;
}

export interface OptimStepRequest {
  readonly learningRate?: number;
  /** The norm to which a larger gradient is scaled down; 0 for no limit. */
  readonly maxGradientNorm?: number;
}

export interface OptimStepResponse {
  /** The norm before scaling. */
  readonly gradientNorm?: number;
  readonly steps?: number;
}

export interface CopyReferenceRequest {
  /** reference ← (1 − rate) · reference + rate · policy; absent or 1 for a copy. */
  readonly rate?: number;
}

export type CopyReferenceResponse = Record<string, never>;

export interface PublishRequest {
  /** A folder on the trainer's machine to also write the weights to, as an adapter or a checkpoint that vLLM loads; or empty. */
  readonly folder?: string;
  /** Publish the policy's weights instead of the reference's. */
  readonly policy?: boolean;
}

export interface PublishResponse {
  readonly published?: number;
  /** The folder of the weights on the trainer's machine; empty if no folder was requested. */
  readonly folder?: string;
}

export interface SaveRequest {
  readonly folder?: string;
}

export type SaveResponse = Record<string, never>;

export interface LoadRequest {
  readonly folder?: string;
  /** The holder's name, if the caller holds the trainer. */
  readonly holder?: string;
}

export type LoadResponse = Record<string, never>;

export interface ResetRequest {
  /** As in LoadRequest. */
  readonly holder?: string;
}

export type ResetResponse = Record<string, never>;

export interface HoldRequest {
  /** The name shown to clients that are refused: a run and its machine. Not empty. */
  readonly holder?: string;
}

export type HoldResponse = Record<string, never>;
