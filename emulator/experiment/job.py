"""A job: one policy in one scenario with one seed, small enough to send anywhere."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from prefine.emulator.plugins import label_of, policy_source
from prefine.emulator.records import RunResult
from prefine.emulator.scenario.scenario import Scenario
from prefine.emulator.simulation.run import run
from prefine.emulator.types import AdaptivePolicy, Plan
from prefine.emulator.world import World

WORLDS_KEPT = 4
"""Per process. Jobs come scenario by scenario, so few worlds are alive at once."""


@dataclass(frozen=True)
class Job:
    """``folder`` is where the scenario's relative paths start; ``varied`` the keys a sweep varied, with their values.

    ``inputs`` are the checksums of the files the scenario reads, by name.
    """

    scenario: Scenario
    folder: Path
    policy: str
    seed: int
    varied: tuple[tuple[str, object], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The policy's name as tables show it; a user's own file goes by its class."""
        return label_of(self.policy)

    @property
    def run_id(self) -> str:
        """Names the run in all tables: varied values, policy, seed."""
        values = [f"{key.rpartition('.')[2]}={value}" for key, value in self.varied]
        return "-".join([*values, self.label, f"s{self.seed}"])

    def content(self) -> Mapping[str, object]:
        """Everything that determines the result, fit for JSON.

        What only selects or describes (names, the list of policies, seeds) is left out.
        """
        scenario = self.scenario.model_dump(
            mode="json",
            exclude={
                "name": True,
                "description": True,
                "policies": True,
                "compare": {"policies", "reference", "seeds"},
            },
        )
        return {
            "scenario": scenario,
            "policy": self.policy,
            "parameters": self.scenario.policies.get(self.policy, {}),
            "policy_source": hashlib.sha256(policy_source(self.policy)).hexdigest(),
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "versions": {name: version(name) for name in ("prefine", "torch", "numpy", "scipy")},
            "code": _code(),
        }


def execute(job: Job) -> RunResult:
    """Run ``job``; raises PrefineError where it cannot be run."""
    scenario = job.scenario.model_dump_json()
    world = _world(scenario, job.folder, job.inputs)
    policy = world.policy(job.policy)
    if isinstance(policy, AdaptivePolicy):
        plan = world.plan(job.policy, policy)
    else:
        plan = _plan(scenario, job.folder, job.inputs, job.policy, policy_source(job.policy))
    return run(world.run_spec(job.policy, policy, plan, job.seed), job.run_id, job.label, job.seed)


@lru_cache(maxsize=WORLDS_KEPT)
def _world(scenario: str, folder: Path, inputs: tuple[tuple[str, str], ...]) -> World:
    """The world of a scenario, with its data loaded and its constants known; ``inputs`` tells edited files apart."""
    return World(Scenario.model_validate_json(scenario), folder)


@lru_cache(maxsize=256)
def _plan(scenario: str, folder: Path, inputs: tuple[tuple[str, str], ...], policy: str, source: bytes) -> Plan:
    """The plan of a policy that does not adapt: the same for every seed; ``source`` tells edited policies apart."""
    world = _world(scenario, folder, inputs)
    return world.plan(policy, world.policy(policy))


@cache
def _code() -> str:
    """Digest of this project's own source: results of other code are never taken for its own."""
    digest = hashlib.sha256()
    for package in ("prefine.emulator", "prefine.models", "prefine.policies"):
        spec = find_spec(package)
        for folder in spec.submodule_search_locations if spec and spec.submodule_search_locations else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
