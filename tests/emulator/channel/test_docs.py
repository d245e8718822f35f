"""The table of docs/channels.md is what the code beside it prints, and its keys are those of the settings."""

import contextlib
import io
import re
from pathlib import Path
from typing import get_args

import pytest

from prefine.emulator.channel.models import ChannelModel
from prefine.emulator.channel.tracefile import parse_trace

DOCS = Path(__file__).parents[3] / "docs"


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), flags=re.DOTALL)


def test_the_table_of_step_sizes_is_reproduced() -> None:
    (table,), (code, _) = blocks("channels.md", "text"), blocks("channels.md", "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "docs/channels.md", "exec"), {})  # noqa: S102  # our own documentation
    assert printed.getvalue().split("\n")[0] == table.split("\n")[0]
    found, shown = (
        [float(number) for number in re.findall(r"-?[\d.]+(?=%)", text)] for text in (printed.getvalue(), table)
    )
    assert found == pytest.approx(shown, abs=0.011), "the last digit may differ between machines"


def test_every_key_of_the_section_is_documented() -> None:
    keys = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", (DOCS / "channels.md").read_text(), re.M))))
    models = [kind.__origin__ for kind in get_args(get_args(ChannelModel)[0])]
    assert keys == {key for model in models for key in model.model_fields}


def test_the_example_of_a_canonical_trace_is_one() -> None:
    trace = parse_trace(blocks("formats.md", "text")[0].splitlines(), "docs/formats.md")
    assert trace.end_s == (3.0, 3.0)
    assert len(trace) == 2
