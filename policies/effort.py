"""A bound on the work of a search, in steps and not in seconds: the same problem ends the same way on every machine."""

import math

from prefine.emulator.errors import PolicyError

MOST_RESPONSES = 40_000
"""Responses of all devices that one problem's searches may ask for: four times the most that a sensible one took."""

OUT_OF_RANGE = "the problem's numbers are too large or too small beside each other for double precision"


class Effort:
    """What a search may still spend; `spend` raises PolicyError when nothing is left.

    ``most`` is in steps, ``search`` says in the message what was looked for.

    >>> effort = Effort(1, "the barrier")
    >>> effort.spend()
    >>> effort.spend()
    Traceback (most recent call last):
    prefine.emulator.errors.PolicyError: the search for the barrier did not end within 1 steps; the ...
    """

    def __init__(self, most: int, search: str) -> None:
        self._most, self._search, self._spent = most, search, 0

    def spend(self, steps: int = 1) -> None:
        """So many steps. Raises PolicyError where these are too many."""
        self._spent += steps
        if self._spent > self._most:
            raise PolicyError(f"the search for {self._search} did not end within {self._most} steps; {OUT_OF_RANGE}")


def require_number(value: float, search: str) -> None:
    """Raises PolicyError where ``value``, which steers the search for ``search``, is no number: it would never end."""
    if math.isnan(value):
        raise PolicyError(f"the search for {search} lost its way; {OUT_OF_RANGE}")
