"""The documentation runs, and speaks of every key."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from prefine.emulator.scenario.scenario import Scenario

ROOT = Path(__file__).parent.parent


def _commands(page: str) -> list[str]:
    """The ``prefine`` lines of the page's ``sh`` blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("prefine ")]


@pytest.mark.parametrize("page", ["README.md"])
def test_every_command_on_the_page_runs(page: str, tmp_path: Path) -> None:
    """In order, in one folder: later commands use what earlier ones wrote."""
    commands = _commands(page)
    assert commands
    start = "import sys; from prefine.emulator.cli import main; sys.argv[0] = 'prefine'; main()"
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", start, *shlex.split(command)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert (tmp_path / "out" / "readme" / "report.html").is_file()


def _keys(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield name
        for annotated in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            part = getattr(annotated, "__origin__", annotated)
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part)


def test_every_scenario_key_is_documented() -> None:
    pages = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("scenario.md", "channels.md", "learning.md")
    )
    missing = [key for key in dict.fromkeys(_keys(Scenario)) if not re.search(rf"\b{key}\b", pages)]
    assert missing == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
