"""Writes benchmark_functions_cma.json: values of benchmark functions by `cma.ff`, the reference for
src/learners/bandit/functions.test.ts.

    $(node scripts/venv.mjs cma) test/references/benchmark_functions_cma.py

`cma` has no Ackley function, which is computed here from its definition. It searches Griewank's function in [-5, 5] in place of
[-600, 600], and takes its condition number as an argument of the ellipsoid.
"""

import warnings

import numpy as np
from fixtures import Draws, write

with warnings.catch_warnings():
    # cma warns that it cannot draw without matplotlib.
    warnings.simplefilter("ignore")
    from cma import ff


def ackley(x):
    root = np.sqrt(np.mean(x**2))
    return -20 * np.exp(-0.2 * root) - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + np.e


FUNCTIONS = {
    "sphere": (5.12, ff.sphere),
    "ellipsoid": (5.12, lambda x: ff.elli(x, cond=1e4)),
    "rosenbrock": (2.048, ff.rosen),
    "schwefel": (500, lambda x: ff.schwefelmult(x, pen_fac=1)),
    "rastrigin": (5.12, ff.rastrigin),
    "ackley": (32.768, ackley),
    "styblinski-tang": (5, ff.styblinski_tang),
    "griewank": (600, lambda x: ff.griewank(x / 120)),
}


def main() -> None:
    draws = Draws(11)
    cases = []
    for name, (bound, function) in FUNCTIONS.items():
        for dimensions in (2, 5):
            points = draws.uniform(-bound, bound, 6, dimensions)
            values = [float(function(point)) for point in points]
            cases.append({"function": name, "points": points, "values": values})
    write(__file__, {"cases": cases})


if __name__ == "__main__":
    main()
