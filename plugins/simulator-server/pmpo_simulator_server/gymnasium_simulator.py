"""Gymnasium environments as simulators."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, load_env_creator

from pmpo_simulator_server.allowed_imports import import_allowed
from pmpo_simulator_server.errors import invalid, not_found, precondition, quoted, unknown
from pmpo_simulator_server.rendering import Pixels, Size, check_camera, on_drawing_thread
from pmpo_simulator_server.scene import MujocoView
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.simulator import Array, Spec, State, Step, single_flag, single_number
from pmpo_simulator_server.trees import NamedTree
from pmpo_simulator_server.wrappers import wrapper_from

_log = logging.getLogger("pmpo_simulator_server")

_NUM_SEEDS = 2**31

_RESERVED_ARGUMENTS = ("render_mode", "max_episode_steps", "disable_env_checker")
"""Arguments of gymnasium.make that clients may not set."""


if importlib.util.find_spec("mujoco") is not None and importlib.util.find_spec("dm_control") is None:
    # Logs MuJoCo's warnings, as DM Control does. By default MuJoCo writes them to a file in the current folder.
    import mujoco

    _warned: set[str] = set()

    def _warn(message: str) -> None:
        # Logs each message once, and 100 at most: some are repeated for every simulator created.
        if message not in _warned and len(_warned) < 100:
            _warned.add(message)
            _log.warning("MuJoCo: %s", message)

    mujoco.set_mju_user_warning(_warn)


def _children(node: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    return node.spaces if isinstance(node, (spaces.Dict, spaces.Tuple)) else None


def _converted(space: spaces.Space[Any], value: Array) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(value)
    return str(value) if isinstance(space, spaces.Text) else value.astype(space.dtype)


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
    raise invalid(f"'{name}' is a {type(space).__name__} space, which dm_env_rpc cannot represent")


class GymnasiumSimulator:
    """A gymnasium.Env as a simulator. `seed` seeds its first episode."""

    def __init__(self, environment: gymnasium.Env[Any, Any], seed: int | None, pixels: Pixels | None) -> None:
        self._environment = environment
        self.view = _view_of(environment)
        self._pixels = pixels
        observed, acted = environment.observation_space, environment.action_space
        # A space that contains no others is named `observation` or `action`.
        taken = {} if pixels is None else {"pixels": "the image"}
        self._observation_tree = NamedTree(observed, _children, root="observation", what="observation", taken=taken)
        self._action_tree = NamedTree(acted, _children, root="action", what="action")
        self.observations = {n: _spec(n, space) for n, space in self._observation_tree.leaves().items()}
        self.actions = {n: _spec(n, space) for n, space in self._action_tree.leaves().items()}
        if pixels is not None:
            self.observations["pixels"] = pixels.spec
        self._seed = seed

    @property
    def takes_seeds(self) -> bool:
        return True

    def reset(self, seed: int | None) -> Step:
        chosen, self._seed = (self._seed if seed is None else seed), None
        observation = _first_observation(self._environment, None if chosen is None else chosen % _NUM_SEEDS)
        return Step(self._observations_of(observation), 0.0, 1.0, State.RUNNING)

    def step(self, actions: Mapping[str, Array]) -> Step:
        action = self._action_tree.arrange(actions, _converted)
        observation, reward, at_end, at_limit, _ = _stepped(self._environment, action)
        terminated, truncated = single_flag(at_end, "terminated"), single_flag(at_limit, "truncated")
        state = State.TERMINATED if terminated else State.INTERRUPTED if truncated else State.RUNNING
        discount = 0.0 if terminated else 1.0
        return Step(self._observations_of(observation), single_number(reward, "reward"), discount, state)

    def _observations_of(self, observation: Any) -> Mapping[str, object]:
        values: dict[str, object] = self._observation_tree.flatten(observation)
        if self._pixels is not None:
            values["pixels"] = self._pixels.render
        return values

    def close(self) -> None:
        _close(self._environment)


def _view_of(environment: gymnasium.Env[Any, Any]) -> MujocoView | None:
    """What an environment on MuJoCo looks like. Gymnasium's have their model and its state as attributes."""
    inner: Any = environment.unwrapped
    names = ("geom_type", "geom_bodyid", "mesh_vert")
    if not all(hasattr(getattr(inner, "model", None), name) for name in names) or not hasattr(
        getattr(inner, "data", None), "xquat"
    ):
        return None
    return MujocoView(lambda: (inner.model, inner.data), lambda: getattr(inner, "dt", None))


def gymnasium_environment(name: str, settings: Settings, allowed: Collection[str]) -> GymnasiumSimulator:
    """Creates the environment registered with Gymnasium as NAME, or by an allowed module as MODULE:NAME.

    NAME may also be a class or a function of the module that makes a gymnasium.Env.

    Settings: `seed`, `maxEpisodeSteps`, `pixels`, `width`, `height`, `cameraId`, `wrappers`. Other settings are passed to the
    environment's constructor.

    Raises:
      RequestError: the environment does not exist or cannot be created, its module is not allowed, or a setting is
        unknown or has a wrong value.
    """
    chosen = _chosen(name, allowed)
    seed = seed_of(settings)
    limit = settings.positive("maxEpisodeSteps", int)
    size = Pixels.size_from(settings)
    wrap = wrapper_from(settings, allowed, gymnasium.Env)
    constructor_settings = settings.rest_for(_creator_of(chosen), hidden=_RESERVED_ARGUMENTS)
    arguments = _drawing_arguments(chosen, size) | constructor_settings
    try:
        # The checker helps authors of environments; in training it only costs time.
        environment = gymnasium.make(chosen, max_episode_steps=limit, disable_env_checker=True, **arguments)
    except (TypeError, ValueError, AssertionError, ImportError, gymnasium.error.Error) as error:
        reason = str(error).split("\n")[0]
        raise invalid(f"'gymnasium/{name}' cannot be created: {reason}") from error
    try:
        pixels = None
        if size is not None:
            model = getattr(environment.unwrapped, "model", None)
            check_camera(size.camera, getattr(model, "ncam", 0))
            _first_observation(environment, 0)
            pixels = Pixels(lambda: np.asarray(environment.render()))
        return GymnasiumSimulator(wrap(environment), seed, pixels)
    except BaseException:
        _close(environment)
        raise


def _first_observation(environment: gymnasium.Env[Any, Any], seed: int | None) -> Any:
    """Resets an environment and returns its observation.

    Raises:
      RequestError: its `reset` is one of Gym's old API.
    """
    try:
        result: Any = environment.reset(seed=seed)
    except TypeError as error:
        if "unexpected keyword argument" in str(error) and _is_of_a_caller(error):
            raise _old_api(f"its reset takes no seed or no options ({error})") from error
        raise
    is_pair = isinstance(result, tuple) and len(result) == 2
    # An observation may itself be a pair.
    if not is_pair or (isinstance(environment.observation_space, spaces.Tuple) and not isinstance(result[1], Mapping)):
        raise _old_api("its reset returns no pair of observation and info")
    return result[0]


def _stepped(environment: gymnasium.Env[Any, Any], action: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Steps an environment.

    Raises:
      RequestError: its `step` does not return five values, as in Gym's old API.
    """
    try:
        result: Any = environment.step(action)
    except ValueError as error:
        # Gymnasium's own wrappers, such as TimeLimit, unpack five values.
        if "values to unpack (expected 5" in str(error) and _is_of_a_caller(error):
            raise _old_api("its step does not return 5 values") from error
        raise
    if not isinstance(result, tuple) or len(result) != 5:
        found = f"{len(result)} values" if isinstance(result, (tuple, list)) else f"a {type(result).__name__}"
        raise _old_api(f"its step returns {found}, not 5")
    return result


def _is_of_a_caller(error: BaseException) -> bool:
    """Whether code that calls an environment raised `error`, Gymnasium's or this module, and not the environment's own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return module == __name__ or module.split(".")[0] == "gymnasium"


def _old_api(what: str) -> Exception:
    return precondition(
        f"the environment does not follow Gymnasium's API, and perhaps Gym's old one: {what}. Gymnasium's "
        "reset(seed=…, options=…) returns (observation, info), and its step returns (observation, reward, terminated, "
        "truncated, info). Change the environment, or convert it with the package shimmy: "
        'gymnasium.make("GymV21Environment-v0", env=…)'
    )


def _chosen(name: str, allowed: Collection[str]) -> EnvSpec:
    """How to make the environment NAME or MODULE:NAME.

    Raises:
      RequestError: there is no such environment, or the module is not allowed or cannot be imported.
    """
    module_name, colon, last = name.rpartition(":")
    module = import_allowed(module_name, allowed) if colon else None
    if last in gymnasium.registry:
        return gymnasium.spec(last)
    maker = getattr(module, last, None)
    if callable(maker):
        return EnvSpec(id=last, entry_point=maker, disable_env_checker=True)
    if module is not None:
        raise not_found(f"{quoted(module_name)} neither registers nor defines {quoted(last)}")
    raise unknown("simulator", f"gymnasium/{name}", [f"gymnasium/{known}" for known in gymnasium.registry])


def _creator_of(chosen: EnvSpec) -> Callable[..., object]:
    """The callable that creates an environment; its signature tells which settings the environment has.

    If it cannot be loaded, returns one that accepts any setting, so that gymnasium.make reports the problem.
    """
    entry = chosen.entry_point
    try:
        return load_env_creator(entry) if isinstance(entry, str) else entry or _accept_any_settings
    except Exception:  # A dependency is missing: gymnasium.make says which.
        return _accept_any_settings


def _accept_any_settings(**_: object) -> None:
    """Its signature accepts every setting."""


def _drawing_arguments(chosen: EnvSpec, size: Size | None) -> dict[str, Any]:
    if size is None:
        return {}
    arguments: dict[str, Any] = {"render_mode": "rgb_array"}
    if "mujoco" in str(chosen.entry_point):
        arguments |= {"width": size.width, "height": size.height}
        arguments |= {} if size.camera is None else {"camera_id": size.camera}
    return arguments


def _close(environment: gymnasium.Env[Any, Any]) -> None:
    """Closes the environment, on the drawing thread if it renders: its OpenGL context belongs to that thread."""
    if environment.render_mode is None:
        environment.close()  # type: ignore[no-untyped-call] # Gymnasium does not annotate it.
    else:
        on_drawing_thread(environment.close)
