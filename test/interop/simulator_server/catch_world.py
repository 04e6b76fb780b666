"""Environments for the tests, as a user would write them: catching a falling ball, and variants with one oddity each."""

import pathlib
import time

import dm_env
import gymnasium
import numpy as np
from dm_env import specs
from gymnasium import spaces


class Catch(dm_env.Environment):
    def __init__(self, rows=5, columns=3):
        self._rows, self._columns = rows, columns
        self._random = np.random.RandomState()

    def seed(self, seed):
        self._random.seed(seed)

    def observation_spec(self):
        return specs.BoundedArray((self._rows, self._columns), np.uint8, 0, 255, "board")

    def action_spec(self):
        return specs.DiscreteArray(3, np.int32, "move")

    def _board(self):
        board = np.zeros((self._rows, self._columns), np.uint8)
        board[self._row, self._ball] = 255
        board[-1, self._paddle] = 128
        return board

    def reset(self):
        self._row, self._ball = 0, self._random.randint(self._columns)
        self._paddle = self._columns // 2
        return dm_env.restart(self._board())

    def step(self, action):
        self._paddle = int(np.clip(self._paddle + action - 1, 0, self._columns - 1))
        self._row += 1
        if self._row == self._rows - 1:
            return dm_env.termination(float(self._paddle == self._ball), self._board())
        return dm_env.transition(0.0, self._board())


def catch(rows: int = 5, columns: int = 3):
    return Catch(rows, columns)


def seeded_once(seed: int = 0):
    """Takes a seed when it is created, but not later."""

    class Once(Catch):
        seed = None

    environment = Once(5, 50)
    environment._random.seed(seed)
    return environment


def breaking():
    """Fails at every step."""

    class Breaking(Catch):
        def step(self, action):
            raise ArithmeticError("the simulation became unstable")

    return Breaking()


def breaking_leftwards():
    """Fails when its paddle is moved to the left."""

    class Breaking(Catch):
        def step(self, action):
            if action == 0:
                raise ArithmeticError("the simulation became unstable")
            return super().step(action)

    return Breaking()


def shrinking():
    """Returns observations whose shape differs from its spec."""

    class Shrinking(Catch):
        def _board(self):
            return super()._board()[1:]

    return Shrinking()


_num_created = 0


def growing():
    """Has one more row at each call, so that its specs differ each time."""
    global _num_created
    _num_created += 1
    return Catch(4 + _num_created, 3)


def waiting(file: str):
    """Waits at each step until `file` exists, for 15 s at most."""

    class Waiting(Catch):
        def step(self, action):
            deadline = time.monotonic() + 15
            while not pathlib.Path(file).exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{file} was not created")
                time.sleep(0.01)
            return super().step(action)

    return Waiting()


class Nested(dm_env.Environment):
    """Has nested specs, text, and dtypes that dm_env_rpc lacks."""

    def observation_spec(self):
        return {
            "arm": {"half": specs.Array((2,), np.float16), "short": specs.BoundedArray((), np.int16, -5, 5)},
            "parts": (specs.Array((2, 2), np.float32), specs.Array((0,), np.float64)),
            "words": specs.StringArray(()),
        }

    def action_spec(self):
        return {"push": specs.BoundedArray((2,), np.float16, [-1, -np.inf], [1, np.inf]), "grip": specs.Array((), bool)}

    def _observe(self, push, grip):
        return {
            "arm": {"half": push, "short": np.int16(3 if grip else -3)},
            "parts": (np.arange(4, dtype=np.float32).reshape(2, 2), np.zeros(0)),
            "words": "closed" if grip else "open",
        }

    def reset(self):
        return dm_env.restart(self._observe(np.zeros(2, np.float16), False))

    def step(self, action):
        assert action["push"].dtype == np.float16
        return dm_env.transition(0.0, self._observe(action["push"], bool(action["grip"])))


class Spaces(gymnasium.Env):
    """Has every kind of space that dm_env_rpc can represent. Its observations repeat its actions."""

    observation_space = spaces.Dict(
        position=spaces.Dict(x=spaces.Box(-1, 1, (2,)), y=spaces.Discrete(5, start=2)),
        pair=spaces.Tuple((spaces.MultiBinary(3), spaces.MultiDiscrete([3, 4]))),
        name=spaces.Text(8),
    )
    action_space = spaces.Dict(
        position=spaces.Dict(x=spaces.Box(-1, 1, (2,)), y=spaces.Discrete(5, start=2)),
        pair=spaces.Tuple((spaces.MultiBinary(3), spaces.MultiDiscrete([3, 4]))),
    )

    def _see(self, action):
        return {**action, "name": "seen"}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.action_space.seed(seed)
        return self._see(self.action_space.sample()), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self._see(action), 1, False, False, {}


gymnasium.register("Spaces-v0", entry_point=Spaces)


class Listed(gymnasium.Env):
    """Has a space that dm_env_rpc cannot represent."""

    observation_space = spaces.Sequence(spaces.Discrete(3))
    action_space = spaces.Discrete(2)


gymnasium.register("Listed-v0", entry_point=Listed)


def nothing_of_use():
    """Makes no environment."""
    return object()
