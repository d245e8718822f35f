"""Emulate two-stage edge learning: pre-train on a server, fine-tune on devices, on one virtual clock.

>>> import prefine
>>> prefine.compare("default", policies=["joint-ft", "uniform"], seeds=3).comparison    # doctest: +SKIP

The folders beside this package are reached through it: ``prefine.emulator``, ``prefine.models``, ``prefine.policies``,
``prefine.traces``, ``prefine.scenarios``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefine.emulator.api import (
        calibrate,
        compare,
        new_scenario,
        plan,
        report,
        sweep,
        validate,
    )

__all__ = [
    "calibrate",
    "compare",
    "new_scenario",
    "plan",
    "report",
    "sweep",
    "validate",
]


def __getattr__(name: str) -> object:
    """The public functions, imported when first asked for: most of this package is used without most of the rest."""
    if name in __all__:
        return getattr(import_module("prefine.emulator.api"), name)
    raise AttributeError(f"module 'prefine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
