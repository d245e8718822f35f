"""Python looks for garbage less often where it is known that there is none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Inside the block libraries are imported, and what they make stays: nothing is gone through to find garbage.

    To go through torch's objects once takes a tenth of a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
