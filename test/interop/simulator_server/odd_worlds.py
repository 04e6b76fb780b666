"""Environments for test_borders.py: each has something that a careless server would misread."""

import dm_env
import gymnasium
import numpy as np
from dm_env import specs
from gymnasium import spaces


class Odd(gymnasium.Env):
    """One observation and one action; the subclasses change one thing each."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    reward = 1.0

    def __init__(self, length: int = 4):
        self._length = length

    def observe(self):
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self.observe(), {}

    def step(self, action):
        self._steps += 1
        return self.observe(), self.reward, self._steps == self._length, False, {}


def one():
    return spaces.Box(-1, 1, (1,), np.float32)


class Collide(Odd):
    observation_space = spaces.Dict({"a": spaces.Dict({"b": one()}), "a/b": one()})


class CollideInTuple(Odd):
    observation_space = spaces.Dict({"a": spaces.Tuple((one(), one())), "a/1": one()})


class CollideActions(Odd):
    action_space = spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)}), "a/b": spaces.Discrete(5, start=100)})


class HasReward(Odd):
    observation_space = spaces.Dict({"reward": one(), "x": one()})


class HasDiscount(Odd):
    observation_space = spaces.Dict({"discount": spaces.Box(0, 100, (3,), np.float32)})


class VectorReward(Odd):
    reward = np.array([0.0, 1.0])


class RewardOfShapeOne(Odd):
    reward = np.array([1.0])


class Categories(Odd):
    observation_space = spaces.Dict(
        {"tile": spaces.Discrete(16), "many": spaces.MultiDiscrete([2, 5]), "flags": spaces.MultiBinary(3)}
    )


class Fraction(Odd):
    """Its observation is said to be a whole number, and is not."""

    observation_space = spaces.Discrete(3)

    def observe(self):
        return 0.5


class FailsOnce(Odd):
    """Fails at the second step of its first episode."""

    failed = False

    def step(self, action):
        if self._steps == 1 and not self.failed:
            self.failed = True
            raise RuntimeError("physics exploded\nat \x1b[2J once")
        return super().step(action)


class Exits(Odd):
    """Ends its process, as a simulator does whose window is closed; the next episodes go on."""

    failed = False

    def step(self, action):
        if not self.failed:
            self.failed = True
            raise SystemExit(3)
        return super().step(action)


class Interrupted(Odd):
    """Raises what Ctrl-C raises in a Python program."""

    failed = False

    def step(self, action):
        if not self.failed:
            self.failed = True
            raise KeyboardInterrupt
        return super().step(action)


class OldStep(Odd):
    """Follows Gym's old API in its step."""

    def step(self, action):
        observation, reward, done, _, info = super().step(action)
        return observation, reward, done, info


class OldReset(Odd):
    """Follows Gym's old API in its reset. Its observation has two elements, as Gymnasium's result has."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class OldResetOfPairs(OldReset):
    observation_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2)))


class OldResetWithoutSeed(Odd):
    def reset(self):
        return super().reset()[0]


class Unpacks(Odd):
    """Follows Gymnasium's API, and has an error like that of a program that reads the old one."""

    def step(self, action):
        _, _, _, _, _ = (1, 2, 3, 4)


class NewStep(gymnasium.Wrapper):
    """Makes an old step a new one."""

    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        return observation, reward, done, False, info


class Flags(Odd):
    """What it says of the end of an episode may be of any type."""

    def __init__(self, kind: str = "bool"):
        super().__init__()
        self._flag = {"text": "no", "none": None, "nan": float("nan"), "agents": [False, True], "number": np.float32(1)}[kind]

    def step(self, action):
        return *super().step(action)[:2], self._flag, np.bool_(False), {}


class Doubled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


class DmWorld(dm_env.Environment):
    """Sends the discounts, one for each step; the last one ends the episode."""

    def __init__(self, discounts=(1.0, 0.0), reward=1.0, observation=None, action=None, reward_spec=None):
        self._discounts, self._reward = discounts, reward
        self._observation = {"x": specs.Array((1,), np.float32)} if observation is None else observation
        self._action = specs.BoundedArray((1,), np.float32, -1, 1, "push") if action is None else action
        self._reward_spec = specs.Array((), float) if reward_spec is None else reward_spec

    def observation_spec(self):
        return self._observation

    def action_spec(self):
        return self._action

    def reward_spec(self):
        return self._reward_spec

    def reset(self):
        self._steps = 0
        return dm_env.restart({"x": np.ones(1, np.float32)})

    def step(self, action):
        discount = self._discounts[self._steps]
        self._steps += 1
        kind = dm_env.StepType.LAST if self._steps == len(self._discounts) else dm_env.StepType.MID
        return dm_env.TimeStep(kind, self._reward, discount, {"x": np.ones(1, np.float32)})


_x = specs.Array((), np.float32)


def dm_collide():
    return DmWorld(observation={"a": {"b": _x}, "a/b": _x})


def dm_collide_keys():
    return DmWorld(observation={"a": {1: _x, "1": _x}})


def dm_collide_actions():
    return DmWorld(action={"a": (_x, _x), "a/0": _x})


def dm_has_reward():
    return DmWorld(observation={"reward": _x})


def dm_rewards():
    return DmWorld(reward_spec={"one": _x, "other": _x})


def dm_vector_reward():
    return DmWorld(reward=np.zeros(2), reward_spec=specs.Array((2,), float))


def dm_lying_reward():
    return DmWorld(reward=np.zeros(2))


def dm_discounts():
    return DmWorld(discounts=(0.5, 0.0, 0.1))


def dm_terminates():
    return DmWorld(discounts=(None, 0.0))


def dm_no_last_discount():
    return DmWorld(discounts=(1.0, None))


def dm_large_discount():
    return DmWorld(discounts=(5.0, 0.0))


class DoubledDm(dm_env.Environment):
    """A wrapper that doubles rewards."""

    def __init__(self, environment):
        self._environment = environment

    def observation_spec(self):
        return self._environment.observation_spec()

    def action_spec(self):
        return self._environment.action_spec()

    def reset(self):
        return self._environment.reset()

    def step(self, action):
        time_step = self._environment.step(action)
        return time_step._replace(reward=None if time_step.reward is None else 2 * time_step.reward)
