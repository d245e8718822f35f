"""How hard the fuzz and property tests try: a little in `make test`, a lot in `make fuzz`."""

import math
import os


def examples(usual: int, many: int) -> int:
    """``usual`` inputs, or ``many`` where `make fuzz` runs: times the number in `PREFINE_FUZZ`, usually 1."""
    share = float(os.environ.get("PREFINE_FUZZ") or 0.0)
    return math.ceil(share * many) if share else usual
