"""Everything that can go wrong for a user, as one family.

Constructors take positional arguments only: SimPy and ``multiprocessing`` rebuild exceptions from ``.args``.
"""


class PrefineError(Exception):
    """Base of all errors this project raises on purpose; ``exit_status`` is what the command line returns."""

    exit_status = 1


class InputError(PrefineError):
    """The input is wrong: a scenario, problem file, trace or command line. One line: where, what, what is allowed."""

    exit_status = 2


class InfeasibleError(InputError):
    """The budgets do not allow even one round; the message says what one round needs at least."""


class PolicyError(PrefineError):
    """A policy returned something that is no plan; the message names policy, field and value."""


class TraceEndError(PrefineError):
    """A channel trace ended during a run whose scenario says ``on_end = "error"``."""


class AuditError(PrefineError):
    """A run broke one of its own invariants (energy parts, delivered bits, time order, limits)."""
