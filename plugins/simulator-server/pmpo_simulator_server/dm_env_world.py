"""DM Control's tasks, and any other dm_env.Environment, as worlds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from pmpo_simulator_server.errors import invalid, no_seeds, not_found, unknown
from pmpo_simulator_server.imports import import_allowed
from pmpo_simulator_server.rendering import Pixels, check_camera
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.world import Array, Spec, State, Step

_SEEDS = 2**32


def _spec(name: str, spec: Any) -> Spec:
    if not isinstance(spec, specs.Array):
        raise invalid(f"'{name}' is described by a {type(spec).__name__}, not by a spec of dm_env")
    if isinstance(spec, specs.StringArray):
        return Spec.of(name, spec.shape, np.str_)
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, specs.BoundedArray) else (None, None)
    return Spec.of(name, spec.shape, spec.dtype, *bounds)


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Specs or values inside mappings and sequences of them, by the path that leads to them."""
    inner: Iterable[tuple[object, Any]]
    if isinstance(tree, Mapping):
        inner = tree.items()
    elif isinstance(tree, (list, tuple)):
        inner = enumerate(tree)
    else:
        yield name, tree
        return
    for key, value in inner:
        yield from _leaves(value, f"{name}/{key}" if name else str(key))


def _rebuilt(tree: Any, values: Mapping[str, Array], name: str) -> Any:
    """Values by path, in the form that their specs have."""
    if isinstance(tree, Mapping):
        return {key: _rebuilt(inner, values, f"{name}/{key}" if name else str(key)) for key, inner in tree.items()}
    if isinstance(tree, (list, tuple)):
        built = [_rebuilt(inner, values, f"{name}/{i}" if name else str(i)) for i, inner in enumerate(tree)]
        return tuple(built) if isinstance(tree, tuple) else built
    value = values[name]
    return str(value) if isinstance(tree, specs.StringArray) and value.shape == () else value


def _root(tree: Any, otherwise: str) -> str:
    """What a spec that is not inside others is called."""
    return "" if isinstance(tree, (Mapping, list, tuple)) else getattr(tree, "name", None) or otherwise


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
        observed, self._action_spec = environment.observation_spec(), environment.action_spec()
        self._observed, self._acted = _root(observed, "observation"), _root(self._action_spec, "action")
        # Nearly all simulators give a mapping of arrays, which is taken as it is.
        self._plain = isinstance(observed, Mapping) and all(isinstance(spec, specs.Array) for spec in observed.values())
        self._single = isinstance(self._action_spec, specs.Array)
        self.observations = {name: _spec(name, spec) for name, spec in _leaves(observed, self._observed)}
        self.actions = {name: _spec(name, spec) for name, spec in _leaves(self._action_spec, self._acted)}
        if pixels is not None:
            self.observations["pixels"] = pixels.spec

    @property
    def takes_seeds(self) -> bool:
        return self._reseed is not None

    def reset(self, seed: int | None) -> Step:
        if seed is not None:
            self.reseed(seed)
        return self._step(self._environment.reset())

    def reseed(self, seed: int) -> None:
        """Raises RequestError where the simulator takes no seed."""
        if self._reseed is None:
            raise no_seeds()
        self._reseed(seed % _SEEDS)

    def step(self, actions: Mapping[str, Array]) -> Step:
        acted = actions[self._acted] if self._single else _rebuilt(self._action_spec, actions, self._acted)
        return self._step(self._environment.step(acted))

    def _step(self, time_step: dm_env.TimeStep) -> Step:
        observed = time_step.observation
        values = observed if self._plain else dict(_leaves(observed, self._observed))
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
        raise unknown("simulator", f"suite/{name}", [f"suite/{task}" for task in tasks])
    domain, task = tasks[name]
    seed = seed_of(settings)
    limit = settings.positive("timeLimit", float)
    flat = settings.take("flat", bool, False)
    size = Pixels.size_from(settings)
    maker = suite._DOMAINS[domain].SUITE[task]  # pylint: disable=protected-access
    own = settings.rest_for(maker, hidden=("random", "time_limit", "environment_kwargs"))
    task_kwargs: dict[str, Any] = {"random": None if seed is None else seed % _SEEDS, **own}
    if limit is not None:
        task_kwargs["time_limit"] = limit
    environment = suite.load(
        domain, task, task_kwargs=task_kwargs, environment_kwargs={"flat_observation": bool(flat)}
    )
    pixels = None
    if size is not None:
        check_camera(size.camera, environment.physics.model.ncam)
        camera = 0 if size.camera is None and environment.physics.model.ncam > 0 else size.camera
        pixels = Pixels(lambda: environment.physics.render(size.height, size.width, camera_id=-1 if camera is None else camera))
    return DmEnvWorld(environment, environment.task.random.seed, pixels)


def imported(path: str, settings: Settings, allowed: Collection[str]) -> DmEnvWorld:
    """A user's own environment: `package.module:factory`, called with the settings as keyword arguments.

    The setting `seed` goes to the factory where it has such an argument, else to the environment's method `seed(int)`.
    Only that method can start later episodes from seeds.
    """
    module_name, _, attribute = path.partition(":")
    module = import_allowed(module_name, allowed)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise not_found(f"'{module_name}' has no factory '{attribute}'")
    # A factory may take a seed like any other argument; where it does not, the environment may.
    takes_seed = "seed" in inspect.signature(factory).parameters
    seed = None if takes_seed else seed_of(settings)
    arguments = settings.rest_for(factory)
    try:
        environment = factory(**arguments)
    except (TypeError, ValueError) as error:
        raise invalid(f"'{path}' does not take these settings: {error}") from error
    if not isinstance(environment, dm_env.Environment):
        raise invalid(f"'{path}' made a {type(environment).__name__}, not a dm_env.Environment")
    reseed = getattr(environment, "seed", None)
    world = DmEnvWorld(environment, reseed if callable(reseed) else None)
    if seed is not None:
        world.reseed(seed)
    return world
