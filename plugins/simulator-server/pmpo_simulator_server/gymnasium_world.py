"""Gymnasium's environments as worlds."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

from pmpo_simulator_server.errors import invalid, unknown
from pmpo_simulator_server.imports import import_allowed
from pmpo_simulator_server.rendering import Pixels, Size, check_camera, on_drawing_thread
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.world import Array, Spec, State, Step

_log = logging.getLogger("pmpo_simulator_server")

_SEEDS = 2**31

_NOT_THEIRS = ("render_mode", "max_episode_steps", "disable_env_checker")
"""Arguments of gymnasium.make that no client sets."""


if importlib.util.find_spec("mujoco") is not None and importlib.util.find_spec("dm_control") is None:
    # DM Control does the same. MuJoCo itself would write a file into the folder where the server was started.
    import mujoco

    _told: set[str] = set()

    def _warn(message: str) -> None:
        # Each once, and not without end: some come with every world that is made.
        if message not in _told and len(_told) < 100:
            _told.add(message)
            _log.warning("MuJoCo: %s", message)

    mujoco.set_mju_user_warning(_warn)


def _leaves(space: spaces.Space[Any], name: str) -> Iterator[tuple[str, spaces.Space[Any]]]:
    """The spaces inside Dict and Tuple spaces, by the path that leads to them."""
    if isinstance(space, spaces.Dict):
        inner = [(str(key), value) for key, value in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        inner = [(str(i), value) for i, value in enumerate(space.spaces)]
    else:
        yield name, space
        return
    for key, value in inner:
        yield from _leaves(value, f"{name}/{key}" if name else key)


def _spec(name: str, space: spaces.Space[Any]) -> Spec:
    if isinstance(space, spaces.Box):
        return Spec.of(name, space.shape, np.dtype(space.dtype), space.low, space.high)
    if isinstance(space, spaces.Discrete):
        return Spec.of(name, (), np.int64, space.start, space.start + space.n - 1)
    if isinstance(space, spaces.MultiDiscrete):
        start = np.asarray(space.start)
        return Spec.of(name, space.shape, np.int64, start, start + space.nvec - 1)
    if isinstance(space, spaces.MultiBinary):
        return Spec.of(name, space.shape, np.int32, 0, 1)
    if isinstance(space, spaces.Text):
        return Spec.of(name, (), np.str_)
    raise invalid(f"'{name}' is a {type(space).__name__} space, which has no form on this wire")


def _flattened(value: Any, space: spaces.Space[Any], name: str) -> Iterator[tuple[str, object]]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _flattened(value[key], inner, f"{name}/{key}" if name else str(key))
    elif isinstance(space, spaces.Tuple):
        for i, inner in enumerate(space.spaces):
            yield from _flattened(value[i], inner, f"{name}/{i}" if name else str(i))
    else:
        yield name, value


def _rebuilt(values: Mapping[str, Array], space: spaces.Space[Any], name: str) -> Any:
    if isinstance(space, spaces.Dict):
        return {
            key: _rebuilt(values, inner, f"{name}/{key}" if name else str(key))
            for key, inner in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            _rebuilt(values, inner, f"{name}/{i}" if name else str(i)) for i, inner in enumerate(space.spaces)
        )
    value = values[name]
    return int(value) if isinstance(space, spaces.Discrete) else value.astype(space.dtype)


class GymnasiumWorld:
    """A gymnasium.Env."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int | None, pixels: Pixels | None) -> None:
        self._environment = environment
        self._pixels = pixels
        observed, acted = environment.observation_space, environment.action_space
        # A space that is not made of others has the name of what it is.
        self._observed = "" if isinstance(observed, (spaces.Dict, spaces.Tuple)) else "observation"
        self._acted = "" if isinstance(acted, (spaces.Dict, spaces.Tuple)) else "action"
        self._single = self._observed != ""
        self.observations = {n: _spec(n, space) for n, space in _leaves(observed, self._observed)}
        self.actions = {n: _spec(n, space) for n, space in _leaves(acted, self._acted)}
        if pixels is not None:
            self.observations["pixels"] = pixels.spec
        self._seed = seed

    @property
    def takes_seeds(self) -> bool:
        return True

    def reset(self, seed: int | None) -> Step:
        chosen, self._seed = (self._seed if seed is None else seed), None
        observation, _ = self._environment.reset(seed=None if chosen is None else chosen % _SEEDS)
        return Step(self._named(observation), 0.0, 1.0, State.RUNNING)

    def step(self, actions: Mapping[str, Array]) -> Step:
        action = _rebuilt(actions, self._environment.action_space, self._acted)
        observation, reward, terminated, truncated, _ = self._environment.step(action)
        state = State.TERMINATED if terminated else State.INTERRUPTED if truncated else State.RUNNING
        return Step(self._named(observation), float(reward), 0.0 if terminated else 1.0, state)

    def _named(self, observation: Any) -> Mapping[str, object]:
        values: dict[str, object]
        if self._single:
            values = {"observation": observation}
        else:
            values = dict(_flattened(observation, self._environment.observation_space, ""))
        if self._pixels is not None:
            values["pixels"] = self._pixels.render
        return values

    def close(self) -> None:
        _close(self._environment)


def gymnasium_environment(name: str, settings: Settings, allowed: Collection[str]) -> GymnasiumWorld:
    """The environment registered with Gymnasium as NAME, or by an allowed module as MODULE:NAME.

    Settings: `seed`, `maxEpisodeSteps`, `pixels`, `width`, `height`, `cameraId`; others go to the environment's maker.
    """
    module, colon, registered = name.rpartition(":")
    if colon:
        import_allowed(module, allowed)
    if registered not in gymnasium.registry:
        raise unknown("simulator", f"gymnasium/{name}", [f"gymnasium/{known}" for known in gymnasium.registry])
    seed = seed_of(settings)
    limit = settings.positive("maxEpisodeSteps", int)
    size = Pixels.size_from(settings)
    arguments = _drawing_arguments(registered, size) | settings.rest_for(_maker(registered), hidden=_NOT_THEIRS)
    try:
        # The checker warns whoever writes an environment; whoever trains in one pays for it.
        environment = gymnasium.make(registered, max_episode_steps=limit, disable_env_checker=True, **arguments)
    except (TypeError, ValueError, AssertionError, ImportError, gymnasium.error.Error) as error:
        reason = str(error).split("\n")[0]
        raise invalid(f"'gymnasium/{name}' cannot be made: {reason}") from error
    try:
        pixels = None
        if size is not None:
            model = getattr(environment.unwrapped, "model", None)
            check_camera(size.camera, getattr(model, "ncam", 0))
            environment.reset(seed=0)
            pixels = Pixels(lambda: np.asarray(environment.render()))
        return GymnasiumWorld(environment, seed, pixels)
    except BaseException:
        _close(environment)
        raise


def _maker(name: str) -> Callable[..., object]:
    """What makes an environment, where that can be told; its signature says which settings there are."""
    entry = gymnasium.spec(name).entry_point
    try:
        return load_env_creator(entry) if isinstance(entry, str) else entry or _anything
    except Exception:  # What it needs is missing: gymnasium.make says what.
        return _anything


def _anything(**_: object) -> None:
    """Takes any setting."""


def _drawing_arguments(name: str, size: Size | None) -> dict[str, Any]:
    if size is None:
        return {}
    arguments: dict[str, Any] = {"render_mode": "rgb_array"}
    if "mujoco" in str(gymnasium.spec(name).entry_point):
        arguments |= {"width": size.width, "height": size.height}
        arguments |= {} if size.camera is None else {"camera_id": size.camera}
    return arguments


def _close(environment: gymnasium.Env[Any, Any]) -> None:
    """On the thread that an OpenGL context of its own, if it has one, belongs to."""
    if environment.render_mode is None:
        environment.close()  # type: ignore[no-untyped-call] # Gymnasium does not annotate it.
    else:
        on_drawing_thread(environment.close)
