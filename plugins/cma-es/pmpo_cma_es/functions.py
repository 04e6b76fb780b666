"""The benchmark functions, as `cma.ff` has them: name, half-width of the domain, and function. Each has a least value of 0.

`cma` has no Ackley function, which is computed here from its definition. It searches Griewank's function in [-5, 5] in place of
[-600, 600], and takes the condition number of the ellipsoid and the weight of Schwefel's penalty as arguments.
"""

import warnings
from collections.abc import Callable

import numpy as np

with warnings.catch_warnings():
    # cma warns that it cannot draw without matplotlib.
    warnings.simplefilter("ignore")
    from cma import ff

Function = Callable[[np.ndarray], float]


def ackley(x: np.ndarray) -> float:
    root = np.sqrt(np.mean(x**2))
    return float(-20 * np.exp(-0.2 * root) - np.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + np.e)


def ellipsoid(x: np.ndarray) -> float:
    return ff.elli(x, cond=1e4)


def griewank(x: np.ndarray) -> float:
    return ff.griewank(x / 120)


def schwefel(x: np.ndarray) -> float:
    """Outside of its domain: the value at the nearest point inside plus the squared distance from there."""
    inside = np.clip(x, -500, 500)
    return ff.schwefelmult(inside) + float(np.sum((x - inside) ** 2))


FUNCTIONS: dict[str, tuple[float, Function]] = {
    "sphere": (5.12, ff.sphere),
    "ellipsoid": (5.12, ellipsoid),
    "rosenbrock": (2.048, ff.rosen),
    "schwefel": (500, schwefel),
    "rastrigin": (5.12, ff.rastrigin),
    "ackley": (32.768, ackley),
    "styblinski-tang": (5, ff.styblinski_tang),
    "griewank": (600, griewank),
}
