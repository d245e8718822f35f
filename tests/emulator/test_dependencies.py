"""Which files a part is made of: any edit of any of them tells, and what cannot be known is said."""

from pathlib import Path

import pytest

import prefine
from prefine.emulator.dependencies import Sources, sources_of_file
from prefine.emulator.errors import PrefineError
from prefine.emulator.plugins import POLICY, part
from prefine.emulator.scenario.source import read_source
from tests.emulator.scenario.small import SMALL

POLICY_TEXT = """
from dataclasses import replace
from prefine.policies.baselines import Uniform
from helper import rounds

class Mine:
    def plan(self, problem):
        return replace(Uniform().plan(problem), pretrain_rounds=0, finetune_rounds=rounds())
"""


def _tree(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "mine.py"


def _names(sources: Sources, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for _, path in sources.files]


def test_all_that_is_imported_counts_however_it_is_written(tmp_path: Path) -> None:
    own = _tree(
        tmp_path,
        mine="import json, numpy, prefine\nimport one\nfrom pack import deep, VALUE\n"
        "def late():\n    from two import x\n    import no_such\n",
        one="import two\n",
        two="x = 1\n",
        pack__init="",
        pack__deep="from . import beside\nfrom .sub.inner import y\n",
        pack__beside="",
        pack__sub__inner="y = 1\n",
        other="",
    )
    (tmp_path / "pack" / "init.py").rename(tmp_path / "pack" / "__init__.py")
    found = sources_of_file(own)
    wanted = ["mine", "one", "pack/__init__", "pack/deep", "two", "pack/beside", "pack/sub/inner"]
    assert sorted(_names(found, tmp_path)) == sorted(f"{name}.py" for name in wanted)
    assert not found.is_open
    before = found.digest()
    for name in wanted:
        path = tmp_path / f"{name}.py"
        text = path.read_text()
        path.write_text(text + "\n# edited")
        assert sources_of_file(own).digest() != before
        path.write_text(text)
    (tmp_path / "other.py").write_text("z = 1")
    assert sources_of_file(own).digest() == before


@pytest.mark.parametrize(
    "text",
    [
        "from importlib import import_module\n",
        "import importlib\n",
        "import runpy\n",
        "import sys\nsys.path.insert(0, '.')\n",
        "x = __import__('json')\n",
        "exec('import json')\n",
    ],
)
def test_what_may_import_anything_is_never_stored(text: str, tmp_path: Path) -> None:
    own = _tree(tmp_path, mine=f"import helper\n{POLICY_TEXT}", helper=f"{text}def rounds():\n    return 2\n")
    assert sources_of_file(own).is_open
    assert not part(POLICY, f"{own}:Mine").lasting


def test_a_changed_helper_is_run_again_here_and_in_a_resumed_command(tmp_path: Path) -> None:
    own, out = _tree(tmp_path, mine=POLICY_TEXT, helper="from deeper import COUNT\ndef rounds(): return COUNT\n"), "out"

    def rounds(count: int) -> tuple[int, int]:
        _tree(tmp_path, deeper=f"COUNT = {count}\n")
        runs = prefine.run(SMALL, f"{own}:Mine", out=tmp_path / out).runs
        return int(runs["finetune_rounds"].iloc[0]), len(list((tmp_path / out / "runs").glob("*.json.gz")))

    assert [rounds(2), rounds(2), rounds(3), rounds(2)] == [(2, 1), (2, 1), (3, 2), (2, 2)]


def test_a_file_that_changes_under_way_is_refused(tmp_path: Path) -> None:
    own = _tree(tmp_path, mine=POLICY_TEXT, helper="def rounds(): return 2\n")
    asked = part(POLICY, f"{own}:Mine")
    assert asked.found.__name__ == "Mine"
    _tree(tmp_path, helper="def rounds(): return 3\n")
    with pytest.raises(PrefineError, match="has changed since the command was started"):
        _ = asked.found


def test_parts_of_other_distributions_count_like_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, theirs__rule="from theirs import helper\n", theirs__helper="x = 1\n")
    (tmp_path / "theirs" / "__init__.py").touch()
    (tmp_path / "theirs-1.dist-info").mkdir()
    (tmp_path / "theirs-1.dist-info" / "METADATA").write_text("Name: theirs\nVersion: 1\n")
    (tmp_path / "theirs-1.dist-info" / "entry_points.txt").write_text("[prefine.algorithms]\nrule = theirs.rule:Rule\n")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["training.algorithm=rule"]

    def content() -> object:
        return read_source(SMALL, overrides).content

    before = content()
    assert content() == before
    (tmp_path / "theirs" / "helper.py").write_text("x = 2\n")
    assert content() != before
    assert read_source(SMALL, overrides).lasting
    (tmp_path / "theirs" / "helper.py").write_text("import importlib\n")
    assert not read_source(SMALL, overrides).lasting
    assert read_source(SMALL).content["own"] == {}
