"""Writes dm_control_suite.json: results of the DM Control Suite, the reference for src/simulators/reference.test.ts.

    $(node scripts/venv.mjs dm_control) test/references/dm_control_suite.py

- `tolerance`: the shaping function for random arguments.
- `rewards`: reward functions for random quantities, computed by the suite's tasks on a stand-in for the physics.
- `trajectories`: observations and rewards of every control step, from random states with random controls.
"""

import json
import os
import pathlib
import types

os.environ.setdefault("MUJOCO_GL", "disable")

import numpy as np
from dm_control import suite
from dm_control.suite import humanoid, quadruped, walker
from dm_control.utils import rewards

OUTPUT = pathlib.Path(__file__).with_suffix(".json")
DIGITS = 9
QUADRUPED_RUN_SPEED = 3.0  # In m/s. The suite's quadruped is larger than ours, and runs at 5 m/s.
TRAJECTORIES = {
    "cartpole_swingup": ("cartpole", "swingup", 200),
    "cartpole_balance": ("cartpole", "balance", 200),
    "acrobot_swingup": ("acrobot", "swingup", 200),
    "reacher": ("reacher", "easy", 200),
    "walker_stand": ("walker", "stand", 40),
    "walker_walk": ("walker", "walk", 40),
    "walker_run": ("walker", "run", 40),
    "cheetah_run": ("cheetah", "run", 40),
}


def rounded_draws(draw):
    """Wraps a generator's method so that its numbers are rounded before they are used."""
    return lambda *args, **kwargs: np.round(draw(*args, **kwargs), 6)


def tolerances(random):
    """Rows [x, lower, upper, margin, falloff, value at margin, result] of random calls."""
    rows = []
    normal, exponential, uniform = (rounded_draws(d) for d in (random.normal, random.exponential, random.uniform))
    for falloff in ("gaussian", "linear", "quadratic"):
        for _ in range(30):
            x, lower, upper, margin = normal(scale=2), normal(), normal(), exponential()
            lower, upper = min(lower, upper), max(lower, upper)
            value = uniform(0.05, 0.95)
            result = rewards.tolerance(x, (lower, upper), margin, falloff, value)
            rows.append([x, lower, upper, margin, falloff, value, float(result)])
        rows.append([3.0, -1.0, 1.0, 0.0, falloff, 0.1, float(rewards.tolerance(3.0, (-1.0, 1.0), 0.0, falloff))])
    return rows


def reward_rows(random):
    """Random quantities and their rewards, for the tasks whose bodies differ from the suite's, and for the walker."""
    rows = {"humanoid_stand": [], "quadruped_run": [], "walker": []}
    normal, uniform = rounded_draws(random.normal), rounded_draws(random.uniform)
    for _ in range(40):
        state = {
            "headHeight": uniform(0, 1.8),
            "upright": uniform(-1, 1),
            "velocity": list(normal(size=2)),
            "control": list(uniform(-1, 1, 21)),
        }
        physics = types.SimpleNamespace(
            head_height=lambda s=state: s["headHeight"],
            torso_upright=lambda s=state: s["upright"],
            control=lambda s=state: np.array(s["control"]),
            center_of_mass_velocity=lambda s=state: np.array([*s["velocity"], 0.3]),
        )
        reward = humanoid.Humanoid(move_speed=0, pure_state=False).get_reward(physics)
        rows["humanoid_stand"].append([state, float(reward)])

        state = {"upright": uniform(-1, 1), "speed": normal(scale=3)}
        physics = types.SimpleNamespace(
            torso_upright=lambda s=state: np.asarray(s["upright"]),
            torso_velocity=lambda s=state: np.array([s["speed"], 0.1, 0.2]),
        )
        rows["quadruped_run"].append([state, float(quadruped.Move(QUADRUPED_RUN_SPEED).get_reward(physics))])

        state = {"height": uniform(0, 1.5), "upright": uniform(-1, 1), "speed": normal(scale=5)}
        physics = types.SimpleNamespace(
            torso_height=lambda s=state: s["height"],
            torso_upright=lambda s=state: s["upright"],
            horizontal_velocity=lambda s=state: s["speed"],
        )
        for speed in (0, 1, 8):
            rows["walker"].append([state, speed, float(walker.PlanarWalker(speed).get_reward(physics))])
    return rows


def trajectory(domain, task, steps, random):
    environment = suite.load(domain, task, task_kwargs={"random": 0})
    environment.reset()
    physics = environment.physics
    if domain in ("walker", "cheetah"):  # Starts in the air, so that it makes contact with the ground during the trajectory.
        physics.data.qpos[:] = random.normal(scale=0.1, size=physics.model.nq)
        physics.named.data.qpos["rootz"] = 0.2
    qvel = random.normal(scale=0.3, size=physics.model.nv)
    if domain == "cheetah":
        qvel[0] = 4
    if domain == "reacher":  # Slow and close to the target, so that some rewards are not 0.
        qvel *= 0.1
        finger = physics.named.data.geom_xpos["finger", :2] + 0.03
        physics.named.model.geom_pos["target", :2] = np.round(finger, DIGITS)
    # The initial state is rounded before it is used, and the results when they are written.
    physics.data.qpos[:] = np.round(physics.data.qpos, DIGITS)
    physics.data.qvel[:] = np.round(qvel, DIGITS)
    physics.data.qacc_warmstart[:] = 0
    physics.forward()
    result = {
        "qpos": physics.data.qpos.tolist(),
        "qvel": physics.data.qvel.tolist(),
        "controls": np.round(random.uniform(-1, 1, size=(steps, physics.model.nu)), 3).tolist(),
        "observations": [],
        "rewards": [],
    }
    if domain == "reacher":
        result["target"] = physics.named.model.geom_pos["target"].tolist()
    for control in result["controls"]:
        timestep = environment.step(control)
        result["rewards"].append(float(timestep.reward))
        result["observations"].append({name: np.ravel(value).tolist() for name, value in timestep.observation.items()})
    return result


def main():
    random = np.random.default_rng(0)
    fixture = {
        "tolerance": tolerances(random),
        "rewards": reward_rows(random),
        "trajectories": {name: trajectory(*spec, random) for name, spec in TRAJECTORIES.items()},
    }
    rounded = json.loads(json.dumps(fixture), parse_float=lambda digits: round(float(digits), DIGITS))
    text = json.dumps(rounded, separators=(",", ":"))
    OUTPUT.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
