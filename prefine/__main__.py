"""``prefine`` and ``python -m prefine``: the command line.

It is imported inside the guard, so that Ctrl-C while libraries are loaded, or a library that cannot be loaded, ends in
one line too.
"""

import sys
from importlib import import_module

from prefine.emulator.terminal.ending import status_of


def main() -> None:
    """Run the command line; however it ends, that is a status and at most one line."""
    sys.exit(status_of(_command))


def _command() -> int:
    import_module("prefine.garbage")
    from prefine.emulator.cli import command

    return command()


if __name__ == "__main__":
    main()
