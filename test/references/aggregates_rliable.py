"""Writes aggregates_rliable.json: aggregates of scores by rliable, the reference for src/core/statistics.test.ts.

    $(node scripts/venv.mjs rliable) test/references/aggregates_rliable.py

The number of scores is a multiple of 4, because rliable cuts off whole scores where the interquartile mean counts them in part.
The intervals differ a little each time, because the bootstrap of rliable 1.2.0 with arch 7.2.0 ignores its `random_state`. The drift
test therefore leaves this script out.
"""

import numpy as np
from fixtures import Draws, write
from rliable import library, metrics

THRESHOLDS = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
REPETITIONS = 500


def main() -> None:
    draws = Draws(5)
    # Rounded, so that there are ties.
    x = np.round(draws.normal(8, 3) + 0.6, 1)
    y = np.round(draws.normal(6, 3), 1)
    profiles, _ = library.create_performance_profile({"x": x}, THRESHOLDS, reps=10)
    iqm, iqm_interval = library.get_interval_estimates(
        {"x": x}, lambda scores: np.array([metrics.aggregate_iqm(scores)]), reps=REPETITIONS
    )
    better, better_interval = library.get_interval_estimates(
        {"xy": (x, y)}, metrics.probability_of_improvement, reps=REPETITIONS
    )
    write(
        __file__,
        {
            "x": x,
            "y": y,
            "interquartileMean": iqm["x"][0],
            "interquartileMeanInterval": iqm_interval["x"][:, 0],
            "probabilityOfImprovement": np.ravel(better["xy"])[0],
            "probabilityOfImprovementInterval": np.ravel(better_interval["xy"]),
            "thresholds": THRESHOLDS,
            "performanceProfile": profiles["x"],
        },
    )


if __name__ == "__main__":
    main()
