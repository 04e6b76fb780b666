"""DM Control tasks, and any other dm_env.Environment, as simulators."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from pmpo_simulator_server.allowed_imports import import_allowed
from pmpo_simulator_server.errors import invalid, not_found, precondition, quoted, takes_no_seeds, unknown
from pmpo_simulator_server.rendering import Pixels, check_camera
from pmpo_simulator_server.scene import MujocoView
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.simulator import Array, Simulator, Spec, State, Step, single_number
from pmpo_simulator_server.trees import NamedTree
from pmpo_simulator_server.wrappers import wrapper_from

_NUM_SEEDS = 2**32


def _spec(name: str, spec: Any) -> Spec:
    if not isinstance(spec, specs.Array):
        raise invalid(f"'{name}' is described by a {type(spec).__name__}; it must be a dm_env spec")
    if isinstance(spec, specs.StringArray):
        return Spec.of(name, spec.shape, np.str_)
    bounds = (spec.minimum, spec.maximum) if isinstance(spec, specs.BoundedArray) else (None, None)
    return Spec.of(name, spec.shape, spec.dtype, *bounds)


def _children(node: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    return node if isinstance(node, (Mapping, list, tuple)) else None


def _converted(spec: Any, value: Array) -> Any:
    return str(value) if isinstance(spec, specs.StringArray) and value.shape == () else value


def _tree(tree: Any, what: str, taken: Mapping[str, str]) -> NamedTree:
    """The named tensors of a spec, which may be nested; a single spec has its own name."""
    return NamedTree(tree, _children, root=getattr(tree, "name", None) or what, what=what, taken=taken)


def _check_reward(spec: Any) -> None:
    """Checks that the reward is a single number.

    Raises:
      RequestError: it is not.
    """
    if not isinstance(spec, specs.Array) or tuple(spec.shape) not in ((), (1,)):
        found = f"has the shape {list(spec.shape)}" if isinstance(spec, specs.Array) else f"is a {type(spec).__name__}"
        raise precondition(f"the environment's reward {found}; it must be a single number. Use a wrapper that makes it one")


class DmEnvSimulator:
    """A dm_env.Environment as a simulator.

    `reseed` seeds the environment for its next episode; None if the environment cannot be seeded.
    """

    def __init__(
        self,
        environment: dm_env.Environment,
        reseed: Callable[[int], None] | None,
        pixels: Pixels | None = None,
        view: MujocoView | None = None,
    ) -> None:
        self.view = view
        self._environment = environment
        self._reseed = reseed
        self._pixels = pixels
        _check_reward(environment.reward_spec())
        observed, acted = environment.observation_spec(), environment.action_spec()
        self._observation_tree = _tree(observed, "observation", {} if pixels is None else {"pixels": "the image"})
        self._action_tree = _tree(acted, "action", {})
        # Nearly all simulators return a flat mapping of arrays, which needs no conversion.
        self._is_flat = isinstance(observed, Mapping) and all(
            isinstance(key, str) and isinstance(spec, specs.Array) for key, spec in observed.items()
        )
        self.observations = {name: _spec(name, spec) for name, spec in self._observation_tree.leaves().items()}
        self.actions = {name: _spec(name, spec) for name, spec in self._action_tree.leaves().items()}
        self._single_action = next(iter(self.actions)) if isinstance(acted, specs.Array) else None
        if pixels is not None:
            self.observations["pixels"] = pixels.spec

    @property
    def takes_seeds(self) -> bool:
        return self._reseed is not None

    def reset(self, seed: int | None) -> Step:
        if seed is not None:
            self.reseed(seed)
        return self._step(self._environment.reset(), is_first=True)

    def reseed(self, seed: int) -> None:
        """Seeds the next episode.

        Raises:
          RequestError: the simulator takes no seeds.
        """
        if self._reseed is None:
            raise takes_no_seeds()
        self._reseed(seed % _NUM_SEEDS)

    def step(self, actions: Mapping[str, Array]) -> Step:
        if self._single_action is not None:
            action = actions[self._single_action]
        else:
            action = self._action_tree.arrange(actions, _converted)
        return self._step(self._environment.step(action), is_first=False)

    def _step(self, time_step: dm_env.TimeStep, *, is_first: bool) -> Step:
        observed = time_step.observation
        values = observed if self._is_flat else self._observation_tree.flatten(observed)
        if self._pixels is not None:
            values = {**values, "pixels": self._pixels.render}
        reward, discount = time_step.reward, time_step.discount
        if is_first:
            # dm_env gives neither with the first observation.
            reward, discount = 0.0 if reward is None else reward, 1.0 if discount is None else discount
        elif discount is None and not time_step.last():
            discount = 1.0
        reward, discount = single_number(reward, "reward"), single_number(discount, "discount")
        if not 0 <= discount <= 1:
            raise ValueError(f"the discount is {discount}; it must be from 0 to 1")
        # The last step of an episode has a discount of 0 if the task is over, and another one if only the episode is.
        state = State.RUNNING if not time_step.last() else State.TERMINATED if discount == 0 else State.INTERRUPTED
        return Step(values, reward, discount, state)

    def close(self) -> None:
        self._environment.close()


def suite_task(name: str, settings: Settings, allowed: Collection[str]) -> DmEnvSimulator:
    """Creates the DM Control task `suite/DOMAIN-TASK`.

    Settings: `seed`, `timeLimit` (seconds of simulated time), `flat` (all observations as one vector), `pixels`,
    `width`, `height`, `cameraId`, `wrappers`. Other settings are passed to the function that creates the task.

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
    wrap = wrapper_from(settings, allowed, dm_env.Environment)
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
    # Asked for each time: the physics may be another one after a reset.
    view = MujocoView(
        lambda: (environment.physics.model.ptr, environment.physics.data.ptr), environment.control_timestep
    )
    return DmEnvSimulator(wrap(environment), environment.task.random.seed, pixels, view)


def imported_environment(path: str, settings: Settings, allowed: Collection[str]) -> Simulator:
    """Creates a user's environment: `package.module:factory`, called with the settings as keyword arguments.

    The factory makes a dm_env.Environment or, if Gymnasium is installed, a gymnasium.Env.

    The setting `seed` goes to the factory if it has such an argument, else to the environment's method `seed(int)`.
    Later episodes can be seeded only if the environment has that method.

    Raises:
      RequestError: the module is not allowed or cannot be imported, the factory does not exist or rejects the
        settings, or it returns something other than an environment.
    """
    module_name, _, attribute = path.partition(":")
    module = import_allowed(module_name, allowed)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise not_found(f"{quoted(module_name)} has no factory {quoted(attribute)}")

    takes_seed = "seed" in inspect.signature(factory).parameters
    seed = None if takes_seed else seed_of(settings)
    wrap = wrapper_from(settings, allowed, object)
    arguments = settings.rest_for(factory)
    try:
        environment = factory(**arguments)
    except (TypeError, ValueError) as error:
        raise invalid(f"'{path}' does not take these settings: {error}") from error
    reseed = getattr(environment, "seed", None)
    wrapped = wrap(environment)
    gymnasium = sys.modules.get("gymnasium")
    if gymnasium is not None and isinstance(wrapped, gymnasium.Env):
        from pmpo_simulator_server.gymnasium_simulator import GymnasiumSimulator

        return GymnasiumSimulator(wrapped, seed, None)
    if not isinstance(wrapped, dm_env.Environment):
        raise invalid(f"'{path}' made a {type(wrapped).__name__}; it must make a dm_env.Environment or a gymnasium.Env")
    simulator = DmEnvSimulator(wrapped, reseed if callable(reseed) else None)
    if seed is not None:
        simulator.reseed(seed)
    return simulator
