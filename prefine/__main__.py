"""``python -m prefine``: the command line."""

from prefine.emulator.cli import main

if __name__ == "__main__":
    main()
