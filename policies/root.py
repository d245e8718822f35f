"""A safeguarded secant search for the root of an increasing function, driven from outside."""

import math

from prefine.policies.effort import require_number


class IncreasingRoot:
    """Proposes where to evaluate next: ``x = search.next()``, then ``search.update(x, f(x))``.

    The function need only be increasing and may return infinities; the bracket shrinks by at least half every third
    update once both its ends were seen, so the search always ends; for NaN it raises PolicyError.
    """

    def __init__(self, guess: float, low: float, high: float, slope: float = 1.0, reach: float = 4.0) -> None:
        """Search [low, high] from ``guess``.

        ``slope`` is the first guess of f', ``reach`` the longest step taken, doubled while it does not reach.
        """
        self.low, self.high = low, high
        self._slope, self._reach = slope, reach
        self._seen_low = self._seen_high = False
        self._guess = min(max(guess, low), high)
        self._last: tuple[float, float] | None = None
        self._slow = 0

    @property
    def width(self) -> float:
        """What is left of the bracket."""
        return self.high - self.low

    @property
    def slope(self) -> float:
        """The last estimate of f'."""
        return self._slope

    @property
    def exhausted(self) -> bool:
        """Whether the bracket has no float left inside."""
        return not self.low < 0.5 * (self.low + self.high) < self.high

    def update(self, x: float, value: float, *, smooth: bool = True) -> None:
        """The function is ``value`` at ``x``; not ``smooth`` if it jumped since the last point."""
        require_number(value, "a root")
        width = self.width
        if value <= 0.0:
            self.low, self._seen_low = max(self.low, x), True
        if value >= 0.0:
            self.high, self._seen_high = min(self.high, x), True
        self._slow = self._slow + 1 if self.width > 0.5 * width else 0
        if (
            smooth
            and self._last is not None
            and math.isfinite(value)
            and math.isfinite(self._last[1])
            and x != self._last[0]
        ):
            slope = (value - self._last[1]) / (x - self._last[0])
            self._slope = max(slope, abs(value) / self._reach)
            self._reach *= 2.0 if slope * self._reach < abs(value) else 1.0
        self._last = (x, value)

    def next(self, proposal: float | None = None) -> float:
        """The next point: ``proposal`` or a secant step inside the bracket, its middle where neither makes headway."""
        if self._last is None:
            return self._guess
        x, value = self._last
        middle = 0.5 * (self.low + self.high)
        closed = self._seen_low and self._seen_high
        if closed and self._slow >= 3:
            self._slow = 0
            return middle
        if proposal is not None and self.low < proposal < self.high:
            return proposal
        step = -value / self._slope if math.isfinite(value) else math.copysign(self._reach, -value)
        point = x + min(max(step, -self._reach), self._reach)
        if self.low < point < self.high:
            return point
        if closed:
            return middle
        return self.low if point <= self.low else self.high
