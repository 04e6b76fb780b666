import { loadService } from '../grpc/protos.js';

/** The gRPC services of language models, reward models and trainers. Their message types are in src/generated/. */

export const vllmService = loadService('vllm/grpc/engine/vllm_engine.proto', 'vllm.grpc.engine.VllmEngine');
export const inferenceService = loadService('inference/grpc_service.proto', 'inference.GRPCInferenceService');
export const trainerService = loadService('pmpo/v1/trainer.proto', 'pmpo.v1.Trainer');
