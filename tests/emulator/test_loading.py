"""What a user's own file may be, and what is said when it is not."""

import sys
from pathlib import Path

import pytest

from prefine.emulator.errors import InputError
from prefine.emulator.loading import find, load_attribute
from prefine.emulator.plugins import make_workload


def _write(folder: Path, value: int) -> str:
    """A file that imports its neighbour ``models.net``; the path of its ``answer``."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "net.py").write_text(f"value = {value}\n")
    (folder / "mine.py").write_text("from models.net import value\n\ndef answer():\n    return value\n")
    return f"{folder}/mine.py:answer"


def test_a_file_imports_what_lies_beside_it_and_not_another_folders(tmp_path: Path) -> None:
    before, finders = set(sys.modules), list(sys.meta_path)
    answers = [load_attribute(_write(tmp_path / str(value), value), "policy") for value in (1, 2)]
    assert [answer() for answer in answers if callable(answer)] == [1, 2]
    assert sys.meta_path == finders
    assert {name for name in set(sys.modules) - before if not name.startswith("prefine_plugin_")} == set()


def test_a_file_is_run_once_and_again_when_it_has_changed(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("thing = object()\n")
    first = load_attribute("own.py:thing", "model", tmp_path)
    assert load_attribute(f"{own}:thing", "model") is first
    own.write_text("thing = object()  # edited\n")
    assert load_attribute(f"{own}:thing", "model") is not first


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, r"^policy .*own\.py:Mine: there is no file .*own\.py$"),
        ("class Other: ...", r"own\.py has no Mine, only: Other$"),
        ("def f(:", r"own\.py raised SyntaxError: .* when it was read$"),
        ("import no_such_neighbour", r"raised ModuleNotFoundError: .* when it was read$"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text: str | None, line: str, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    if text is not None:
        own.write_text(text)
    with pytest.raises(InputError, match=line):
        load_attribute(f"{own}:Mine", "policy")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(
        InputError, match=r"^algorithm 'fedfoo' is unknown, allowed: fedadam, fedavg, .*fedsgd, .*scaffold, or "
    ):
        find("fedfoo", "prefine.algorithms", "algorithm")
    with pytest.raises(InputError, match="no gadget is installed"):
        find("any", "prefine.gadgets", "gadget")


def test_an_own_workload_must_have_every_part(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("class Mine:\n    def __init__(self, **given): self.weights = (1.0,)\n")
    with pytest.raises(InputError, match=r"^workload own\.py:Mine: Mine has no cost$"):
        make_workload("own.py:Mine", tmp_path)
