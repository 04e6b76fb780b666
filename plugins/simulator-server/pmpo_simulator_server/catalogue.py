"""The simulators that a server offers, by the name in the setting `simulator`."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping

from pmpo_simulator_server.batch import MAX_BATCH_SIZE, Batch
from pmpo_simulator_server.errors import check_length, invalid, precondition, quoted
from pmpo_simulator_server.settings import Settings, seed_of
from pmpo_simulator_server.simulator import Setting, Simulator

KINDS: Mapping[str, str] = {"dm-control": "dm_control", "gymnasium": "gymnasium"}
"""The kinds of simulators, and the package that each kind needs."""

_KIND_OF_PREFIX = {"suite": "dm-control", "gymnasium": "gymnasium"}


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The kinds of simulators that a server was started to serve."""

    kinds: tuple[str, ...]
    imports: tuple[str, ...] = ()
    """Modules that clients may have imported; the modules inside them are allowed too."""

    def missing(self) -> list[str]:
        """The kinds whose packages are not installed."""
        return [kind for kind in self.kinds if importlib.util.find_spec(KINDS[kind]) is None]

    def preload(self) -> None:
        """Imports the simulators, which is slow, once before processes are forked."""
        for kind in self.kinds:
            importlib.import_module(
                "dm_control.suite" if kind == "dm-control" else "pmpo_simulator_server.gymnasium_simulator"
            )

    def make(self, values: Mapping[str, Setting]) -> Simulator | Batch:
        """Creates a simulator, or a batch of as many as the setting `batchSize` asks for.

        Raises:
          RequestError: a setting is unknown or has a wrong value.
        """
        settings = Settings(values)
        size = settings.positive("batchSize", int)
        if size is None:
            return self._simulator(settings)
        if size > MAX_BATCH_SIZE:
            raise invalid(f"the setting 'batchSize' is {size}; it must be at most {MAX_BATCH_SIZE}")
        simulator_settings = {name: value for name, value in values.items() if name != "batchSize"}
        seed = seed_of(settings)
        return Batch.build(
            size,
            lambda i: self._simulator(
                Settings(simulator_settings if seed is None else {**simulator_settings, "seed": seed + i})
            ),
        )

    def _simulator(self, settings: Settings) -> Simulator:
        name = settings.take("simulator", str)
        if name is None:
            examples = {"dm-control": "suite/walker-walk", "gymnasium": "gymnasium/HalfCheetah-v5"}
            wanted = " or ".join(examples[kind] for kind in self.kinds) or "package.module:factory"
            raise invalid(f"the setting 'simulator' is missing; give one such as {wanted}")
        check_length("simulator", name)
        prefix, _, rest = name.partition("/")
        kind = _KIND_OF_PREFIX.get(prefix)
        if kind is None and ":" in name:
            from pmpo_simulator_server import dm_env_simulator

            return dm_env_simulator.imported_environment(name, settings, self.imports)
        if kind is None or rest == "":
            raise invalid(
                f"unknown simulator {quoted(name)}; names are suite/DOMAIN-TASK, gymnasium/NAME or package.module:factory"
            )
        if kind not in self.kinds:
            raise precondition(f"this server serves {', '.join(self.kinds)}, not {kind}: {quoted(name)}")
        if kind == "dm-control":
            from pmpo_simulator_server import dm_env_simulator

            return dm_env_simulator.suite_task(rest, settings, self.imports)
        from pmpo_simulator_server import gymnasium_simulator

        return gymnasium_simulator.gymnasium_environment(rest, settings, self.imports)
