"""A trace on the screen: a table of its figures and a small plot."""

import numpy as np
from rich.table import Table

from prefine.emulator.channel.trace import Trace
from prefine.traces.formats import Imported
from prefine.traces.series import Link
from prefine.traces.summary import QUANTILES, summarize

MOST_DEVICES = 8
BLOCKS = " ▁▂▃▄▅▆▇█"


def table(found: Imported, link: Link, max_gap_s: float) -> Table:
    """A column per device (the first few), a line per figure; rates as seen through ``link``."""
    shown = range(min(len(found.trace), MOST_DEVICES))
    grid = Table(title=f"Rates at {link.bandwidth_hz:g} Hz and {link.power_w:g} W", title_justify="left", box=None)
    grid.add_column("device")
    for device in shown:
        grid.add_column(str(device), justify="right")
    columns = [_figures(found, device, link, max_gap_s) for device in shown]
    for name in columns[0]:
        grid.add_row(name, *(column[name] for column in columns))
    if len(found.trace) > MOST_DEVICES:
        grid.caption = f"and {len(found.trace) - MOST_DEVICES} more devices"
    return grid


def _figures(found: Imported, device: int, link: Link, max_gap_s: float) -> dict[str, str]:
    one = summarize(found.trace, device, link)
    gaps = [length_s for k, _, length_s in found.gaps if k == device]
    return {
        "length s": f"{one.length_s:g}",
        "rows": str(one.rows),
        "shortest step s": f"{one.shortest_step_s:.4g}",
        "median step s": f"{one.median_step_s:.4g}",
        "longest step s": f"{one.longest_step_s:.4g}",
        f"gaps over {max_gap_s:g} s": f"{len(gaps)} (longest {max(gaps):g} s)" if gaps else "0",
        "no signal s": f"{one.silent_s:g}",
        "longest without signal s": f"{one.longest_outage_s:g}",
        "lowest gain dB": f"{one.lowest_gain_db:.1f}",
        "highest gain dB": f"{one.highest_gain_db:.1f}",
        "mean rate Mbit/s": f"{one.mean_rate_bit_s / 1e6:.4g}",
        **{
            f"{q:.0%} quantile Mbit/s": f"{rate / 1e6:.4g}"
            for q, rate in zip(QUANTILES, one.rate_quantiles_bit_s, strict=True)
        },
    }


def plot(trace: Trace, device: int, columns: int = 64, rows: int = 8) -> list[str]:
    """Lines of text: the gain in dB over time, each column its mean over that stretch; no signal is left empty."""
    end_s = trace.end_s[device]
    end_s = end_s if np.isfinite(end_s) else max(1.0, 2.0 * float(trace.time_s[device][-1]))
    at_s = end_s * (np.arange(8 * columns) + 0.5) / (8 * columns)
    gain_db = trace.gain_db[device][np.searchsorted(trace.time_s[device], at_s, "right") - 1].reshape(columns, 8)
    heard = np.isfinite(gain_db)
    count = heard.sum(axis=1)
    mean_db = np.where(heard, gain_db, 0.0).sum(axis=1) / np.maximum(count, 1)
    if not count.any():
        return ["no signal at any time"]
    low, high = float(mean_db[count > 0].min()), float(mean_db[count > 0].max())
    span = high - low if high > low else 1.0
    eighths = np.where(count > 0, 1 + np.round((mean_db - low) / span * (8 * rows - 1)), 0).astype(int)
    label = [f"{high:8.1f} dB ", *([" " * 12] * (rows - 2)), f"{low:8.1f} dB "]
    body = ["".join(BLOCKS[min(max(e - 8 * (rows - 1 - row), 0), 8)] for e in eighths) for row in range(rows)]
    axis = f"{'0 s':<{columns // 2}}{f'{end_s:g} s':>{columns - columns // 2}}"
    return [a + "|" + b for a, b in zip(label, body, strict=True)] + [" " * 13 + axis]
