"""A job: one policy in one scenario with one seed, small enough to send anywhere."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from prefine.emulator.analysis.tables import Varied
from prefine.emulator.plugins import Part, make_policy
from prefine.emulator.records import RunResult
from prefine.emulator.scenario.source import Source
from prefine.emulator.simulation.run import run
from prefine.emulator.types import AdaptivePolicy, Plan, Policy

PLANS_KEPT = 256


@dataclass(frozen=True)
class Job:
    """``varied`` are the keys a sweep varied, with the values they have in ``source``."""

    source: Source
    part: Part
    seed: int
    varied: Varied = ()

    @property
    def policy(self) -> str:
        """How the policy was asked for: its name, or a file and class; the label of an object from Python."""
        return self.part.name

    @property
    def label(self) -> str:
        """The policy's name as tables show it; a user's own file goes by its class."""
        return self.part.label

    @property
    def run_id(self) -> str:
        """Names the run in all tables: varied values, policy, seed."""
        values = [f"{key.rpartition('.')[2]}={value}" for key, value in self.varied]
        return "-".join([*values, self.label, f"s{self.seed}"])

    @property
    def lasting(self) -> bool:
        """Whether `content` tells this run from every other one, in other processes too."""
        return all(each.lasting for each in (self.part, *self.source.own))

    def content(self) -> Mapping[str, object]:
        """Everything that determines the result, fit for JSON.

        What only selects or describes (names, the list of policies, seeds) is left out.
        """
        scenario = self.source.scenario.model_dump(
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
            "own": {each.kind.noun: each.identity for each in self.source.own},
            "policy": self.policy,
            "parameters": _parameters(self.source, self.part),
            "policy_source": self.part.identity,
            "seed": self.seed,
            "inputs": dict(self.source.checksums),
            "versions": {name: version(name) for name in ("prefine", "torch", "numpy", "scipy")},
            "code": _code(),
        }


def execute(job: Job) -> RunResult:
    """Run ``job``; raises PrefineError where it cannot be run."""
    world = job.source.world()
    policy = _made(job.source, job.part)
    adapts = isinstance(policy, AdaptivePolicy)
    plan = world.plan(job.policy, policy) if adapts else _plan(job.source, job.part)
    return run(world.run_spec(job.policy, policy, plan, job.seed), job.run_id, job.label, job.seed)


@lru_cache(maxsize=PLANS_KEPT)
def _plan(source: Source, part: Part) -> Plan:
    """The plan of a policy that does not adapt: the same for every seed."""
    return source.world().plan(part.name, _made(source, part))


def _made(source: Source, part: Part) -> Policy:
    return make_policy(part, _parameters(source, part))


def _parameters(source: Source, part: Part) -> dict[str, object]:
    return source.scenario.policies.get(part.name, {})


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
