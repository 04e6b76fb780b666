"""CMA-ES on the benchmark functions of pmpo's bandits."""
