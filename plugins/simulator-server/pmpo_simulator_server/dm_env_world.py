"""DM Control's tasks, and any other dm_env.Environment, as worlds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import dm_env
from dm_env import specs

from pmpo_simulator_server.errors import invalid, not_found, precondition, unknown
from pmpo_simulator_server.rendering import Pixels
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.world import Array, Spec, State, Step

_SEEDS = 2**32


def _spec(name: str, spec: specs.Array) -> Spec:
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, specs.BoundedArray) else (None, None)
    return Spec.of(name, spec.shape, spec.dtype, *bounds)


def _named(tree: Any, single: str) -> dict[str, Any]:
    """Specs or values by name; a single one has the name of what it is."""
    if isinstance(tree, Mapping):
        return {str(name): value for name, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return {f"{single}{i}": value for i, value in enumerate(tree)}
    return {single: tree}


class DmEnvWorld:
    """A dm_env.Environment. `reseed` makes its next episode the one of a seed."""

    def __init__(
        self,
        environment: dm_env.Environment,
        reseed: Callable[[int], None] | None,
        pixels: Pixels | None = None,
    ) -> None:
        self._environment = environment
        self._reseed = reseed
        self._pixels = pixels
        observed, acted = environment.observation_spec(), environment.action_spec()
        self._plain = isinstance(observed, Mapping)
        self._shape_of_actions = type(acted)
        self._observed = getattr(observed, "name", None) or "observation"
        named = _named(observed, self._observed)
        self.observations = {name: _spec(name, spec) for name, spec in named.items()}
        self.actions = {name: _spec(name, spec) for name, spec in _named(acted, getattr(acted, "name", None) or "action").items()}
        if pixels is not None:
            self.observations["pixels"] = pixels.spec

    def reset(self, seed: int | None) -> Step:
        if seed is not None:
            if self._reseed is None:
                raise invalid("this simulator takes no seed")
            self._reseed(seed % _SEEDS)
        return self._step(self._environment.reset())

    def step(self, actions: Mapping[str, Array]) -> Step:
        return self._step(self._environment.step(self._packed(actions)))

    def _packed(self, actions: Mapping[str, Array]) -> Any:
        if issubclass(self._shape_of_actions, Mapping):
            return dict(actions)
        if issubclass(self._shape_of_actions, (list, tuple)):
            return [actions[name] for name in self.actions]
        (action,) = actions.values()
        return action

    def _step(self, time_step: dm_env.TimeStep) -> Step:
        observed = time_step.observation
        values = observed if self._plain else _named(observed, self._observed)
        if self._pixels is not None:
            values = {**values, "pixels": self._pixels.render}
        reward = 0.0 if time_step.reward is None else float(time_step.reward)
        discount = 1.0 if time_step.discount is None else float(time_step.discount)
        state = State.RUNNING
        if time_step.last():
            state = State.TERMINATED if discount == 0 else State.INTERRUPTED
        return Step(values, reward, discount, state)

    def close(self) -> None:
        self._environment.close()


def suite_task(name: str, settings: Settings) -> DmEnvWorld:
    """DM Control's task `suite/DOMAIN-TASK`.

    Settings: `seed`, `timeLimit` (seconds of simulated time), `flat` (all observations as one), `pixels`, `width`,
    `height`, `cameraId`; others go to the task's maker.
    """
    from dm_control import suite

    tasks = {f"{domain}-{task}": (domain, task) for domain, task in suite.ALL_TASKS}
    if name not in tasks:
        near = name.replace("_", "-") if name.replace("_", "-") in tasks else None
        if near is not None:
            raise not_found(f"there is no simulator 'suite/{name}'. Did you mean 'suite/{near}'?")
        raise unknown("simulator", f"suite/{name}", [f"suite/{task}" for task in tasks])
    domain, task = tasks[name]
    seed = seed_of(settings)
    limit = settings.positive("timeLimit", float)
    flat = settings.take("flat", bool, False)
    size = Pixels.size_from(settings)
    maker = suite._DOMAINS[domain].SUITE[task]  # pylint: disable=protected-access
    own = settings.rest_for(_without_reserved(maker))
    task_kwargs: dict[str, Any] = {"random": None if seed is None else seed % _SEEDS, **own}
    if limit is not None:
        task_kwargs["time_limit"] = limit
    environment = suite.load(
        domain, task, task_kwargs=task_kwargs, environment_kwargs={"flat_observation": bool(flat)}
    )
    pixels = None
    if size is not None:
        pixels = Pixels(lambda: environment.physics.render(size.height, size.width, camera_id=size.camera))
    return DmEnvWorld(environment, environment.task.random.seed, pixels)


def _without_reserved(maker: Callable[..., object]) -> Callable[..., object]:
    """The maker of a task with a signature of just what a client may set."""
    import functools
    import inspect

    signature = inspect.signature(maker)
    hidden = {"random", "time_limit", "environment_kwargs"}
    parameters = [p for p in signature.parameters.values() if p.name not in hidden]

    @functools.wraps(maker)
    def visible(*args: object, **kwargs: object) -> object:
        return maker(*args, **kwargs)

    visible.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return visible


def imported(path: str, settings: Settings, allowed: Collection[str]) -> DmEnvWorld:
    """A user's own environment: `package.module:factory`, called with the settings as keyword arguments."""
    module_name, _, attribute = path.partition(":")
    if not any(module_name == name or module_name.startswith(f"{name}.") for name in allowed):
        raise precondition(
            f"this server may not import '{module_name}'; start it with --allow-import {module_name}"
        )
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise not_found(f"'{path}' cannot be imported: {error}") from error
    environment = factory(**settings.rest_for(factory))
    if not isinstance(environment, dm_env.Environment):
        raise invalid(f"'{path}' made a {type(environment).__name__}, not a dm_env.Environment")
    reseed = getattr(environment, "seed", None)
    return DmEnvWorld(environment, reseed if callable(reseed) else None)
