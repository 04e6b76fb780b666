import { serviceOnDemand } from '../grpc/protos.js';

/** The gRPC services of language models, reward models and trainers. Their message types are in src/generated/. */

export const vllmService = serviceOnDemand(
  'vllm/grpc/engine/vllm_engine.proto',
  'vllm.grpc.engine.VllmEngine',
);
export const inferenceService = serviceOnDemand(
  'inference/grpc_service.proto',
  'inference.GRPCInferenceService',
);
export const trainerService = serviceOnDemand('pmpo/v1/trainer.proto', 'pmpo.v1.Trainer');
