// Generated from proto/inference/grpc_service.proto by `npm run generate`. Do not edit.

/** A service's methods, and the messages of each. */
export interface GRPCInferenceService {
  readonly ServerLive: {
    readonly request: ServerLiveRequest;
    readonly response: ServerLiveResponse;
  };
  readonly ServerReady: {
    readonly request: ServerReadyRequest;
    readonly response: ServerReadyResponse;
  };
  readonly ModelReady: {
    readonly request: ModelReadyRequest;
    readonly response: ModelReadyResponse;
  };
  readonly ModelMetadata: {
    readonly request: ModelMetadataRequest;
    readonly response: ModelMetadataResponse;
  };
  readonly ModelInfer: {
    readonly request: ModelInferRequest;
    readonly response: ModelInferResponse;
  };
}

export type ServerLiveRequest = Record<string, never>;

export interface ServerLiveResponse {
  readonly live?: boolean;
}

export type ServerReadyRequest = Record<string, never>;

export interface ServerReadyResponse {
  readonly ready?: boolean;
}

export interface ModelReadyRequest {
  readonly name?: string;
  readonly version?: string;
}

export interface ModelReadyResponse {
  readonly ready?: boolean;
}

export interface ModelMetadataRequest {
  readonly name?: string;
  /** Empty: the server's choice. */
  readonly version?: string;
}

export interface ModelMetadataResponse {
  readonly name?: string;
  readonly versions?: readonly string[];
  readonly platform?: string;
  readonly inputs?: readonly ModelMetadataResponseTensorMetadata[];
  readonly outputs?: readonly ModelMetadataResponseTensorMetadata[];
}

export interface ModelMetadataResponseTensorMetadata {
  readonly name?: string;
  /** BYTES, INT64, FP32, … */
  readonly datatype?: string;
  /** −1 for an axis of any size. */
  readonly shape?: readonly number[];
}

/** At most one is present: boolParam, int64Param, stringParam. */
export interface InferParameter {
  readonly boolParam?: boolean;
  readonly int64Param?: number;
  readonly stringParam?: string;
}

export interface InferTensorContents {
  readonly boolContents?: readonly boolean[];
  readonly intContents?: readonly number[];
  readonly int64Contents?: readonly number[];
  readonly uintContents?: readonly number[];
  readonly uint64Contents?: readonly number[];
  readonly fp32Contents?: readonly number[];
  readonly fp64Contents?: readonly number[];
  readonly bytesContents?: readonly Uint8Array[];
}

export interface ModelInferRequest {
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly id?: string;
  readonly parameters?: Readonly<Record<string, InferParameter>>;
  readonly inputs?: readonly ModelInferRequestInferInputTensor[];
  readonly outputs?: readonly ModelInferRequestInferRequestedOutputTensor[];
  readonly rawInputContents?: readonly Uint8Array[];
}

export interface ModelInferRequestInferInputTensor {
  readonly name?: string;
  readonly datatype?: string;
  readonly shape?: readonly number[];
  readonly parameters?: Readonly<Record<string, InferParameter>>;
  readonly contents?: InferTensorContents;
}

export interface ModelInferRequestInferRequestedOutputTensor {
  readonly name?: string;
  readonly parameters?: Readonly<Record<string, InferParameter>>;
}

export interface ModelInferResponse {
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly id?: string;
  readonly parameters?: Readonly<Record<string, InferParameter>>;
  readonly outputs?: readonly ModelInferResponseInferOutputTensor[];
  /** Instead of `contents`: the little-endian bytes of each output; the length of a BYTES element (4 bytes) precedes it. */
  readonly rawOutputContents?: readonly Uint8Array[];
}

export interface ModelInferResponseInferOutputTensor {
  readonly name?: string;
  readonly datatype?: string;
  readonly shape?: readonly number[];
  readonly parameters?: Readonly<Record<string, InferParameter>>;
  readonly contents?: InferTensorContents;
}
