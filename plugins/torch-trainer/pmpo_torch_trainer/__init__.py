"""Trains Hugging Face causal language models with coefficients sent over gRPC, and serves samples over vLLM's protocol."""
