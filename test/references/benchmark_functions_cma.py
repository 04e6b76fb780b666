"""Writes benchmark_functions_cma.json: values of benchmark functions by `cma.ff`, the reference for
src/learners/bandit/functions.test.ts.

    $(node scripts/venv.mjs cma) test/references/benchmark_functions_cma.py
"""

import pathlib
import sys

from fixtures import Draws, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "plugins" / "cma-es"))
from pmpo_cma_es.functions import FUNCTIONS  # noqa: E402


def main() -> None:
    draws = Draws(11)
    cases = []
    for name, (bound, function) in FUNCTIONS.items():
        for dimensions in (2, 5):
            points = draws.uniform(-1.1 * bound, 1.1 * bound, 6, dimensions)
            values = [float(function(point)) for point in points]
            cases.append({"function": name, "points": points, "values": values})
    write(__file__, {"cases": cases})


if __name__ == "__main__":
    main()
