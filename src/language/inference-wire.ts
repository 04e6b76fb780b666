import { loadService } from '../grpc/protos.js';

/** The messages of the Open Inference Protocol v2, as proto/inference/grpc_service.proto has them. */

export const inferenceService = loadService('inference/grpc_service.proto', 'inference.GRPCInferenceService');

export interface WireTensorMetadata {
  readonly name?: string;
  readonly datatype?: string;
  /** −1 where any size will do. */
  readonly shape?: readonly number[];
}

export interface WireModelMetadata {
  readonly name?: string;
  readonly versions?: readonly string[];
  readonly platform?: string;
  readonly inputs?: readonly WireTensorMetadata[];
  readonly outputs?: readonly WireTensorMetadata[];
}

export interface WireTensorContents {
  readonly boolContents?: readonly boolean[];
  readonly intContents?: readonly number[];
  readonly int64Contents?: readonly number[];
  readonly uintContents?: readonly number[];
  readonly uint64Contents?: readonly number[];
  readonly fp32Contents?: readonly number[];
  readonly fp64Contents?: readonly number[];
  readonly bytesContents?: readonly Uint8Array[];
}

export interface WireTensor {
  readonly name?: string;
  readonly datatype?: string;
  readonly shape?: readonly number[];
  readonly contents?: WireTensorContents;
}

export interface WireInferRequest {
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly inputs?: readonly WireTensor[];
  readonly outputs?: readonly { readonly name?: string }[];
}

export interface WireInferResponse {
  readonly modelName?: string;
  readonly modelVersion?: string;
  readonly outputs?: readonly WireTensor[];
  readonly rawOutputContents?: readonly Uint8Array[];
}
