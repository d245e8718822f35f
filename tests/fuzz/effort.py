"""How hard the fuzz and property tests try: a little in `make test`, a lot in `make fuzz`."""

import os


def examples(usual: int, many: int) -> int:
    """``usual`` inputs, or ``many`` where `make fuzz` runs."""
    return many if os.environ.get("PREFINE_FUZZ") else usual
