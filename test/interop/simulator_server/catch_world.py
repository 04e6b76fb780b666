"""A user's own dm_env.Environment, for the tests: catch a ball that falls."""

import dm_env
import numpy as np
from dm_env import specs


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


def breaking():
    class Breaking(Catch):
        def step(self, action):
            raise ArithmeticError("the simulation became unstable")

    return Breaking()
