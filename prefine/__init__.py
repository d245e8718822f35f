"""Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.

>>> import prefine
>>> prefine.compare("default", policies=["joint-ft", "uniform"], seeds=3).comparison    # doctest: +SKIP

What plans, runs and reports on the command line is a function here; docs/tutorial.md shows them. The folders beside
this package are reached through it: ``prefine.emulator``, ``prefine.models``, ``prefine.policies``, ``prefine.traces``,
``prefine.scenarios``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from prefine.emulator.garbage import importing

if TYPE_CHECKING:
    from prefine.emulator.api import (
        Solution,
        calibrate,
        check_policy,
        cite,
        compare,
        list_policies,
        list_scenarios,
        list_selections,
        new_scenario,
        plan,
        report,
        run,
        sweep,
        validate,
    )
    from prefine.emulator.errors import InfeasibleError, InputError, PolicyError, PrefineError
    from prefine.emulator.report.drawable import DrawableTables as Tables
    from prefine.emulator.scenario.source import read_source as read_scenario

__all__ = [
    "InfeasibleError",
    "InputError",
    "PolicyError",
    "PrefineError",
    "Solution",
    "Tables",
    "calibrate",
    "check_policy",
    "cite",
    "compare",
    "list_policies",
    "list_scenarios",
    "list_selections",
    "new_scenario",
    "plan",
    "read_scenario",
    "report",
    "run",
    "sweep",
    "validate",
]

_ELSEWHERE = {
    "InfeasibleError": "prefine.emulator.errors:InfeasibleError",
    "InputError": "prefine.emulator.errors:InputError",
    "PolicyError": "prefine.emulator.errors:PolicyError",
    "PrefineError": "prefine.emulator.errors:PrefineError",
    "Tables": "prefine.emulator.report.drawable:DrawableTables",
    "read_scenario": "prefine.emulator.scenario.source:read_source",
}
"""Public names that are not in `prefine.emulator.api`."""


def __getattr__(name: str) -> object:
    """A public name, imported when first asked for: most of this package is used without most of the rest."""
    if name not in __all__:
        raise AttributeError(f"module 'prefine' has no attribute {name!r}")
    module, _, attribute = _ELSEWHERE.get(name, f"prefine.emulator.api:{name}").partition(":")
    with importing():
        found: object = getattr(import_module(module), attribute)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
