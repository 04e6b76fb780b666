"""`python -m pmpo_cma_es REQUEST RESULT`; the README says what the two JSON files hold."""

import json
import pathlib
import sys

import numpy as np

from pmpo_cma_es.functions import FUNCTIONS

import cma  # isort: skip (imported after functions.py has silenced its warning)


def search(function: str, start: list[float], seed: int, stddev: float, evaluations: int) -> list[list[float]]:
    """Evaluations so far and f at the mean, after each generation, until CMA-ES stops by itself or the evaluations are used up."""
    scale, f = FUNCTIONS[function]
    # cma takes the seed 0 for the time of day.
    options = {"seed": seed + 1, "maxfevals": evaluations, "verbose": -9}
    strategy = cma.CMAEvolutionStrategy(scale * np.asarray(start), scale * stddev, options)
    trace = [[0, float(f(scale * np.asarray(start)))]]
    while not strategy.stop():
        points = strategy.ask()
        strategy.tell(points, [f(np.asarray(point)) for point in points])
        trace.append([int(strategy.countevals), float(f(np.asarray(strategy.mean)))])
    return trace


def main() -> None:
    request_file, result_file = map(pathlib.Path, sys.argv[1:3])
    request = json.loads(request_file.read_text(encoding="utf-8"))
    stddev, evaluations = request["stddev"], request["evaluations"]
    traces = [
        search(one["function"], one["start"], one["seed"], stddev, evaluations) for one in request["searches"]
    ]
    versions = {"cma": cma.__version__, "numpy": np.__version__}
    result_file.write_text(json.dumps({"versions": versions, "traces": traces}), encoding="utf-8")


if __name__ == "__main__":
    main()
