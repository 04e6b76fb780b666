"""DM Control tasks, and any other dm_env.Environment, as simulators."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from pmpo_simulator_server.allowed_imports import import_allowed
from pmpo_simulator_server.errors import invalid, not_found, takes_no_seeds, unknown
from pmpo_simulator_server.rendering import Pixels, check_camera
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.simulator import Array, Spec, State, Step

_NUM_SEEDS = 2**32


def _spec(name: str, spec: Any) -> Spec:
    if not isinstance(spec, specs.Array):
        raise invalid(f"'{name}' is described by a {type(spec).__name__}; it must be a dm_env spec")
    if isinstance(spec, specs.StringArray):
        return Spec.of(name, spec.shape, np.str_)
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, specs.BoundedArray) else (None, None)
    return Spec.of(name, spec.shape, spec.dtype, *bounds)


def _leaves(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yields the specs or values inside nested mappings and sequences, each with its path, such as `position/x`."""
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
    """Arranges `values`, which are keyed by path, in the nested structure of their spec `tree`."""
    if isinstance(tree, Mapping):
        return {key: _rebuilt(inner, values, f"{name}/{key}" if name else str(key)) for key, inner in tree.items()}
    if isinstance(tree, (list, tuple)):
        built = [_rebuilt(inner, values, f"{name}/{i}" if name else str(i)) for i, inner in enumerate(tree)]
        return tuple(built) if isinstance(tree, tuple) else built
    value = values[name]
    return str(value) if isinstance(tree, specs.StringArray) and value.shape == () else value


def _root(tree: Any, otherwise: str) -> str:
    """The path at which a tree of specs starts: empty for nested specs, else the name of the single spec."""
    return "" if isinstance(tree, (Mapping, list, tuple)) else getattr(tree, "name", None) or otherwise


class DmEnvSimulator:
    """A dm_env.Environment as a simulator.

    `reseed` seeds the environment for its next episode; None if the environment cannot be seeded.
    """

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
        self._observation_root, self._action_root = _root(observed, "observation"), _root(self._action_spec, "action")
        # Nearly all simulators return a flat mapping of arrays, which needs no conversion.
        self._is_flat = isinstance(observed, Mapping) and all(isinstance(s, specs.Array) for s in observed.values())
        self._has_single_action = isinstance(self._action_spec, specs.Array)
        self.observations = {name: _spec(name, spec) for name, spec in _leaves(observed, self._observation_root)}
        self.actions = {name: _spec(name, spec) for name, spec in _leaves(self._action_spec, self._action_root)}
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
        """Seeds the next episode.

        Raises:
          RequestError: the simulator takes no seeds.
        """
        if self._reseed is None:
            raise takes_no_seeds()
        self._reseed(seed % _NUM_SEEDS)

    def step(self, actions: Mapping[str, Array]) -> Step:
        if self._has_single_action:
            action = actions[self._action_root]
        else:
            action = _rebuilt(self._action_spec, actions, self._action_root)
        return self._step(self._environment.step(action))

    def _step(self, time_step: dm_env.TimeStep) -> Step:
        observed = time_step.observation
        values = observed if self._is_flat else dict(_leaves(observed, self._observation_root))
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


def suite_task(name: str, settings: Settings) -> DmEnvSimulator:
    """Creates the DM Control task `suite/DOMAIN-TASK`.

    Settings: `seed`, `timeLimit` (seconds of simulated time), `flat` (all observations as one vector), `pixels`,
    `width`, `height`, `cameraId`. Other settings are passed to the function that creates the task.

    Raises:
      RequestError: the task does not exist, or a setting is unknown or has a wrong value.
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
    task_settings = settings.rest_for(maker, hidden=("random", "time_limit", "environment_kwargs"))
    task_kwargs: dict[str, Any] = {"random": None if seed is None else seed % _NUM_SEEDS, **task_settings}
    if limit is not None:
        task_kwargs["time_limit"] = limit
    environment = suite.load(domain, task, task_kwargs=task_kwargs, environment_kwargs={"flat_observation": bool(flat)})
    pixels = None
    if size is not None:
        check_camera(size.camera, environment.physics.model.ncam)
        # By default the model's first camera is used, or the free camera (-1) if the model has none.
        default_camera = 0 if environment.physics.model.ncam > 0 else -1
        camera = default_camera if size.camera is None else size.camera
        pixels = Pixels(lambda: environment.physics.render(size.height, size.width, camera_id=camera))
    return DmEnvSimulator(environment, environment.task.random.seed, pixels)


def imported_environment(path: str, settings: Settings, allowed: Collection[str]) -> DmEnvSimulator:
    """Creates a user's environment: `package.module:factory`, called with the settings as keyword arguments.

    The setting `seed` goes to the factory if it has such an argument, else to the environment's method `seed(int)`.
    Later episodes can be seeded only if the environment has that method.

    Raises:
      RequestError: the module is not allowed or cannot be imported, the factory does not exist or rejects the
        settings, or it returns something other than a dm_env.Environment.
    """
    module_name, _, attribute = path.partition(":")
    module = import_allowed(module_name, allowed)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise not_found(f"'{module_name}' has no factory '{attribute}'")

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
    simulator = DmEnvSimulator(environment, reseed if callable(reseed) else None)
    if seed is not None:
        simulator.reseed(seed)
    return simulator
