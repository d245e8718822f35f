"""What long work tells those who wait: what it does, and how far it is.

Who waits says so with `watching`; the work itself calls `stage` and `advance` and need not know whether anybody does.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Advance = Callable[[float], None]
"""Called with how much more is done."""

Stages = Callable[[str, float | None], AbstractContextManager[Advance]]
"""Opens a stage by its name and its whole amount, None where nobody knows that."""


def _unheard(amount: float) -> None:
    pass


def _unwatched(what: str, total: float | None) -> AbstractContextManager[Advance]:
    return nullcontext(_unheard)


_stages: ContextVar[Stages] = ContextVar("stages", default=_unwatched)
_advance: ContextVar[Advance] = ContextVar("advance", default=_unheard)


@contextmanager
def watching(stages: Stages) -> Iterator[None]:
    """What begins inside the ``with`` block is told to ``stages``."""
    before = _stages.set(stages)
    try:
        yield
    finally:
        _stages.reset(before)


@contextmanager
def stage(what: str, total: float | None = None) -> Iterator[None]:
    """Long work called ``what``, of ``total`` units, is done inside the ``with`` block; `advance` counts them."""
    with _stages.get()(what, total) as told:
        before = _advance.set(told)
        try:
            yield
        finally:
            _advance.reset(before)


def advance(amount: float = 1.0) -> None:
    """``amount`` more units of the present stage are done."""
    _advance.get()(amount)
