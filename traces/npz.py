"""NumPy archives of gains over time, as ray tracers export them. Pickles are never loaded."""

import numpy as np

from prefine.emulator.archives import npz_arrays
from prefine.emulator.channel.trace import natural_end_s
from prefine.emulator.errors import InputError
from prefine.emulator.text import quoted
from prefine.emulator.types import FloatArray
from prefine.traces.series import Series

ALLOWED = "an .npz archive with gain, gain_db or h (time x device) and time_s (time,) or step_s"


def parse_npz(data: bytes, source: str, step_s: float | None = None) -> tuple[Series, ...]:
    """One series per device from ``gain`` (linear), ``gain_db``, or ``h`` (complex amplitude; the gain is |h|^2).

    The array is (time, device) or (time,); instants are in ``time_s``, or a scalar ``step_s`` (or argument) apart.
    Raises InputError that names the array and the entry at fault.
    """
    arrays = _arrays(data, source)
    gain_db = _gain_db(arrays, source)
    time_s = _times(arrays, len(gain_db), step_s, source)
    return tuple(Series(time_s, gain_db[:, k], "gain_db", natural_end_s(time_s)) for k in range(gain_db.shape[1]))


def _arrays(data: bytes, source: str) -> dict[str, np.ndarray]:
    try:
        return npz_arrays(data)
    except ValueError as error:
        raise InputError(f"{source}: {error}; allowed: {ALLOWED}") from error


def _gain_db(arrays: dict[str, np.ndarray], source: str) -> FloatArray:
    name = next((name for name in ("gain_db", "gain", "h") if name in arrays), None)
    if name is None:
        raise InputError(f"{source}: has arrays {', '.join(arrays) or 'none'}; allowed: {ALLOWED}")
    array = arrays[name]
    if array.dtype.kind not in ("fiuc" if name == "h" else "fiu"):
        raise InputError(f"{source}: {name} has type {array.dtype}, must be numbers (complex only as h)")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0:
        raise InputError(f"{source}: {name} has shape {array.shape}, must be (time, device) with at least one entry")
    if name == "gain_db":
        bad = np.isnan(array) | (array == np.inf)
        allowed = "a number of dB or -inf"
    else:
        bad = ~np.isfinite(array) | (False if name == "h" else array < 0)
        allowed = "finite" if name == "h" else "finite and at least 0"
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(f"{source}: {name}[{at[0]}, {at[1]}] is {array[at]}, must be {allowed}")
    if name == "gain_db":
        return array.astype(np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        gain_db: FloatArray = (20.0 if name == "h" else 10.0) * np.log10(np.abs(array).astype(np.float64))
        return gain_db


def _times(arrays: dict[str, np.ndarray], rows: int, step_s: float | None, source: str) -> FloatArray:
    step = arrays.get("step_s") if step_s is None else np.array(step_s)
    if step is not None:
        if step.size != 1 or step.dtype.kind not in "fiu" or not (np.isfinite(step).all() and step.item() > 0):
            raise InputError(f"{source}: step_s is {quoted(str(step))}, must be one number of seconds above 0")
        return float(step.item()) * np.arange(rows, dtype=np.float64)
    if "time_s" not in arrays:
        raise InputError(f"{source}: has neither time_s nor step_s; give --step-s")
    time_s = arrays["time_s"]
    if time_s.dtype.kind not in "fiu" or time_s.shape != (rows,):
        raise InputError(
            f"{source}: time_s has type {time_s.dtype} and shape {time_s.shape}, must be ({rows},) numbers"
        )
    bad = np.flatnonzero(~np.isfinite(time_s[1:]) | (np.diff(time_s) <= 0.0))
    if not np.isfinite(time_s[0]) or len(bad) > 0:
        at = int(bad[0]) + 1 if len(bad) > 0 else 0
        raise InputError(f"{source}: time_s[{at}] is {time_s[at]}, times must be finite and rise strictly")
    from_zero: FloatArray = time_s.astype(np.float64) - float(time_s[0])
    return from_zero
