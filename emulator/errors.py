"""Everything that can go wrong for a user, as one family.

Constructors take positional arguments only: SimPy and ``multiprocessing`` rebuild exceptions from ``.args``.
"""

MOST_CHARACTERS = 1000


def one_line(text: str) -> str:
    """``text`` on one line that a terminal can show: white space is one space, what does not print is escaped.

    >>> one_line("no such key: a\\x1b[31m\\n  b")
    'no such key: a\\\\x1b[31m b'
    """
    words = " ".join(text.split())
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in words)
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[: MOST_CHARACTERS - 3]}..."


class PrefineError(Exception):
    """Base of all errors this project raises on purpose; ``exit_status`` is what the command line returns.

    What it says is one printable line, whatever keys, paths and foreign messages it quotes.
    """

    exit_status = 1

    def __str__(self) -> str:
        return one_line(super().__str__())


class InputError(PrefineError):
    """The input is wrong: a scenario, problem file, trace or command line. One line: where, what, what is allowed."""

    exit_status = 2


class InfeasibleError(InputError):
    """The budgets do not allow even one round; the message says what one round needs at least."""


class PolicyError(PrefineError):
    """A policy returned something that is no plan; the message names policy, field and value."""


class InterruptionError(PrefineError):
    """The user stopped a command; the message says what is kept of it."""

    exit_status = 130


class TraceEndError(PrefineError):
    """A channel trace ended during a run whose scenario says ``on_end = "error"``."""


class AuditError(PrefineError):
    """A run broke one of its own invariants (energy parts, delivered bits, time order, limits)."""
