"""How a command ends: an exit status and at most one line on standard error, whatever happened."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prefine.emulator.errors import PrefineError, one_line

INTERRUPTED = 130


def status_of(command: Callable[[], int]) -> int:
    """Run ``command``; its exit status, which it returns or exits with.

    0 done, 1 failed, 2 the input is wrong, 130 interrupted. What nobody foresaw is one line, with the traceback in a
    file; runs that were finished are kept.
    """
    try:
        status = _run(command)
        if sys.stdout is not None:
            sys.stdout.flush()
    except PrefineError as error:
        _tell(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        _tell("interrupted; finished runs are kept, the same command goes on from there")
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return 1
    except OSError as error:
        _silence()
        _tell(f"{error.filename or 'standard output'}: {error.strerror or error}; finished runs are kept")
        return 1
    except BaseException as error:  # noqa: BLE001  # the outermost guard
        _tell(f"unforeseen {type(error).__name__}: {error} ({_recorded(error)}); finished runs are kept")
        return 1
    return status


def _run(command: Callable[[], int]) -> int:
    """Its status. Raises KeyboardInterrupt where that says so, as the command line's library does."""
    try:
        status = command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status


def _recorded(error: BaseException) -> str:
    """Where the traceback is now."""
    try:
        handle, name = tempfile.mkstemp(prefix="prefine-crash-", suffix=".txt", text=True)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        return "no traceback could be written"
    return f"traceback in {Path(name)}"


def _tell(line: str) -> None:
    with suppress(OSError, AttributeError, ValueError):  # standard error may be closed, full or no stream at all
        sys.stderr.write(f"prefine: {one_line(line)}\n")
        sys.stderr.flush()


def _silence() -> None:
    """Nothing more is written to a standard output that takes nothing, not even when the interpreter ends."""
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
