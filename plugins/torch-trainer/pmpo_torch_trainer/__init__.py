"""Trains Hugging Face causal language models by coefficients sent over gRPC, and samples from them over vLLM's protocol."""
