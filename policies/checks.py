"""Checks of policy parameters; each raises InputError that names policy, parameter, value and what is allowed."""

import math

from prefine.emulator.errors import InputError


def require_fraction(policy: str, name: str, value: float, *, open_ended: bool = False) -> None:
    """``value`` lies in [0, 1], or in (0, 1) where ``open_ended``."""
    _require_number(policy, name, value)
    if not (0.0 < value < 1.0 if open_ended else 0.0 <= value <= 1.0):
        allowed = "strictly between 0 and 1" if open_ended else "between 0 and 1"
        raise InputError(f"policies.{policy}.{name}: must be {allowed}, not {value!r}")


def require_at_least(policy: str, name: str, value: int, least: int) -> None:
    """``value`` is a whole number and at least ``least``."""
    _require_number(policy, name, value)
    if not isinstance(value, int) or value < least:
        raise InputError(f"policies.{policy}.{name}: must be a whole number, at least {least}, not {value!r}")


def require_positive(policy: str, name: str, value: float) -> None:
    """``value`` exceeds zero."""
    _require_number(policy, name, value)
    if value <= 0.0:
        raise InputError(f"policies.{policy}.{name}: must be greater than 0, not {value!r}")


def _require_number(policy: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"policies.{policy}.{name}: must be a finite number, not {value!r}")
