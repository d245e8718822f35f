"""A job: one policy in one scenario with one seed, small enough to send anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from prefine.emulator.analysis.entries import Varied, run_name
from prefine.emulator.experiment.sampled import with_rows
from prefine.emulator.plugins import Part, make_policy, selection_of
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
        """Names the run in all tables: varied values, policy, seed (`run_name`)."""
        return run_name(self.varied, self.label, self.seed)

    @property
    def lasting(self) -> bool:
        """Whether `content` tells this run from every other one, in other processes too."""
        rule = selection_of(_parameters(self.source, self.part))
        return self.part.lasting and self.source.lasting and (rule is None or rule.lasting)

    def content(self) -> Mapping[str, object]:
        """Everything that determines the result, fit for JSON.

        What only selects or describes (names, the list of policies, seeds) is left out.
        """
        parameters = _parameters(self.source, self.part)
        rule = selection_of(parameters)
        return {
            **self.source.content,
            "policy": self.policy,
            "parameters": parameters,
            "policy_source": self.part.identity,
            "selection_source": "" if rule is None else rule.identity,
            "seed": self.seed,
        }


def execute(job: Job) -> RunResult:
    """Run ``job``; raises PrefineError where it cannot be run."""
    world = job.source.world()
    policy = _made(job.source, job.part)
    adapts = isinstance(policy, AdaptivePolicy)
    plan = world.plan(job.policy, policy) if adapts else _plan(job.source, job.part)
    result = run(world.run_spec(job.policy, policy, plan, job.seed), job.label, job.seed)
    return with_rows(result, job.source.scenario.compare.devices, job.source.scenario.device_count)


@lru_cache(maxsize=PLANS_KEPT)
def _plan(source: Source, part: Part) -> Plan:
    """The plan of a policy that does not adapt: the same for every seed."""
    return source.world().plan(part.name, _made(source, part))


def _made(source: Source, part: Part) -> Policy:
    return make_policy(part, _parameters(source, part))


def _parameters(source: Source, part: Part) -> dict[str, object]:
    return source.scenario.policies.get(part.name, {})
