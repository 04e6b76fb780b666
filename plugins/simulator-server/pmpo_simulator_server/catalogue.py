"""Which worlds a server makes, by the name in the setting `simulator`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping

from pmpo_simulator_server.batch import MOST, Batch
from pmpo_simulator_server.errors import invalid, precondition
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.world import Setting, World

KINDS: Mapping[str, str] = {"dm-control": "dm_control", "gymnasium": "gymnasium"}
"""What can be served, and the package that it needs."""

_OF_PREFIX = {"suite": "dm-control", "gymnasium": "gymnasium"}


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """What a server was started to serve."""

    kinds: tuple[str, ...]
    imports: tuple[str, ...] = ()
    """Modules, with those inside them, that clients may have imported."""

    def missing(self) -> list[str]:
        """The kinds whose packages are not installed."""
        return [kind for kind in self.kinds if importlib.util.find_spec(KINDS[kind]) is None]

    def preload(self) -> None:
        """Imports what takes long, once, before processes are forked."""
        for kind in self.kinds:
            importlib.import_module(
                "dm_control.suite" if kind == "dm-control" else "pmpo_simulator_server.gymnasium_world"
            )

    def make(self, values: Mapping[str, Setting]) -> World | Batch:
        """A new world, or as many as the setting `batchSize` says. Raises RequestError for settings that are wrong."""
        settings = Settings(values)
        size = settings.positive("batchSize", int)
        if size is None:
            return self._world(settings)
        if size > MOST:
            raise invalid(f"the setting 'batchSize' is {size}; it must be at most {MOST}")
        own = {name: value for name, value in values.items() if name != "batchSize"}
        seed = seed_of(settings)
        return Batch.of(size, lambda i: self._world(Settings(own if seed is None else {**own, "seed": seed + i})))

    def _world(self, settings: Settings) -> World:
        name = settings.take("simulator", str)
        if name is None:
            examples = {"dm-control": "suite/walker-walk", "gymnasium": "gymnasium/HalfCheetah-v5"}
            wanted = " or ".join(examples[kind] for kind in self.kinds) or "package.module:factory"
            raise invalid(f"the setting 'simulator' is missing; give one such as {wanted}")
        prefix, _, rest = name.partition("/")
        kind = _OF_PREFIX.get(prefix)
        if kind is None and ":" in name:
            from pmpo_simulator_server import dm_env_world

            return dm_env_world.imported(name, settings, self.imports)
        if kind is None or rest == "":
            raise invalid(
                f"there is no simulator '{name}'; names are suite/DOMAIN-TASK, gymnasium/NAME or "
                "package.module:factory"
            )
        if kind not in self.kinds:
            raise precondition(f"this server serves {', '.join(self.kinds)}, not {kind}: '{name}'")
        if kind == "dm-control":
            from pmpo_simulator_server import dm_env_world

            return dm_env_world.suite_task(rest, settings)
        from pmpo_simulator_server import gymnasium_world

        return gymnasium_world.gymnasium_environment(rest, settings, self.imports)
