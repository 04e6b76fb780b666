"""Samples from a server with vLLM's generated Python stubs, and prints the tokens per second.

Usage: python vllm_python_client.py ADDRESS REQUESTS COMPLETIONS MAX_TOKENS STREAM PROMPT_TOKEN...
"""

import asyncio
import sys
import time
import uuid

import grpc
from smg_grpc_proto import vllm_engine_pb2, vllm_engine_pb2_grpc


async def main(
    address: str, requests: int, completions: int, max_tokens: int, stream: bool, prompt: list[int]
) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = vllm_engine_pb2_grpc.VllmEngineStub(channel)

        async def sample(seed: int) -> int:
            params = vllm_engine_pb2.SamplingParams(
                temperature=1.0,
                top_p=1.0,
                n=completions,
                max_tokens=max_tokens,
                ignore_eos=True,
                logprobs=0,
                seed=seed,
            )
            request = vllm_engine_pb2.GenerateRequest(
                request_id=str(uuid.uuid4()),
                tokenized=vllm_engine_pb2.TokenizedInput(input_ids=prompt),
                sampling_params=params,
                stream=stream,
            )
            tokens, log_probs = [], []
            async for response in stub.Generate(request):
                if stream and response.HasField("chunk"):
                    tokens += response.chunk.token_ids
                    log_probs += response.chunk.output_logprobs.token_logprobs
                elif not stream:
                    tokens += response.complete.output_ids
                    log_probs += response.complete.output_logprobs.token_logprobs
            assert len(tokens) == len(log_probs)
            return len(tokens)

        await sample(0)
        started = time.perf_counter()
        counts = await asyncio.gather(*(sample(1000 * (i + 1)) for i in range(requests)))
        print(sum(counts) / (time.perf_counter() - started))


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[2:]]
    asyncio.run(main(sys.argv[1], numbers[0], numbers[1], numbers[2], bool(numbers[3]), numbers[4:]))
