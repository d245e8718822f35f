"""The report: from the tables alone, self-contained, the same bytes each time, honest."""

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Hashable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from prefine.emulator.analysis.comparison import comparison, figures_of
from prefine.emulator.analysis.output import read_tables
from prefine.emulator.analysis.reading import read_comparison, read_table
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.executor import Serial
from prefine.emulator.experiment.folder import manifest, result_store, write_folder
from prefine.emulator.experiment.runs import run_many
from prefine.emulator.options import FigureFormat
from prefine.emulator.report import course, page, words
from prefine.emulator.report.made import is_made
from prefine.emulator.report.plots import figures
from tests.emulator.experiment import synthetic
from tests.emulator.experiment.conftest import draw, make_folder
from tests.emulator.experiment.synthetic import SyntheticJob


class _Balanced(HTMLParser):
    """Fails on a tag that is closed without having been opened, or the other way round."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["compared", "swept"])
def test_the_page_is_well_formed_and_needs_no_other_file(kind: str, request: pytest.FixtureRequest) -> None:
    page = (request.getfixturevalue(kind) / "report.html").read_text()
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert page.count("<script>") == page.count("<script") == 1
    assert "url(" not in page


@pytest.mark.parametrize("kind", ["compared", "swept"])
def test_every_plot_is_drawn_described_and_has_its_csv(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    page = (folder / "report.html").read_text()
    pictures = re.findall(r'<img src="data:image/(?:svg\+xml|png);base64,([^"]+)" alt="([^"]+)"', page)
    names = sorted(path.stem for path in (folder / "figures").glob("*.csv"))
    assert len(pictures) == len(names) >= 4
    for data, description in pictures:
        picture = base64.b64decode(data)
        if not picture.startswith(b"\x89PNG\r\n"):
            assert ElementTree.fromstring(picture).tag.endswith("svg")  # noqa: S314  # our own drawing
        (name,) = re.findall(r"figures/([\w.-]+)\.csv", description)
        assert not pd.read_csv(folder / "figures" / f"{name}.csv").empty
        names.remove(name)
    assert names == []


def test_the_report_is_rebuilt_from_tables_and_manifest_alone_in_the_same_bytes(compared: Path, tmp_path: Path) -> None:
    for name in ("runs.csv", "rounds.csv", "devices.csv", "clients.csv", "manifest.json"):
        shutil.copy(compared / name, tmp_path / name)
    draw(tmp_path)
    for path in sorted(compared.rglob("*")):
        if path.is_file() and path.suffix != ".gz":
            assert (tmp_path / path.relative_to(compared)).read_bytes() == path.read_bytes(), path.name


def test_a_report_without_a_manifest_is_possible(compared: Path, tmp_path: Path) -> None:
    for name in ("runs.csv", "rounds.csv", "devices.csv"):
        shutil.copy(compared / name, tmp_path / name)
    assert "joint" in draw(tmp_path).read_text()


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_a_plot_as_a_file_is_the_same_bytes_twice(compared: Path, kind: FigureFormat) -> None:
    figure = next(course.timeline(read_tables(compared)))
    assert figure.render(kind) == figure.render(kind)


def test_every_plot_is_written_in_the_formats_asked_for(compared: Path, tmp_path: Path) -> None:
    for name in ("runs.csv", "rounds.csv", "devices.csv", "manifest.json"):
        shutil.copy(compared / name, tmp_path / name)
    draw(tmp_path, ("pdf",), "column")
    assert is_made(tmp_path, ("pdf",), "column")
    assert not is_made(tmp_path, ("pdf",))
    drawings = sorted((tmp_path / "figures").glob("*.pdf"))
    assert {path.stem for path in drawings} == {path.stem for path in (tmp_path / "figures").glob("*.csv")}
    assert all(path.read_bytes().startswith(b"%PDF") for path in drawings)
    for path in drawings:
        content = path.read_bytes().replace(b" ", b"")
        assert b"/Type3" not in content
        assert b"/FontFile2" in content  # TrueType, embedded
        assert b"/MediaBox[00252" in content  # 3.5 in


def test_what_comes_from_users_is_escaped(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    assert "synthetic <b>" not in page
    assert "synthetic &lt;b&gt;" in page


def test_failed_runs_and_reasons_to_stop_are_told(compared: Path) -> None:
    page = (compared / "report.html").read_text()
    assert "of which 1 failed" in page
    assert "budget.delay_s = 0.1: one round needs at least 2 s" in page
    assert "delay budget" in page


def test_a_folder_of_failed_runs_only_still_has_a_report(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, [], SyntheticJob("joint", 0), SyntheticJob("no-such", 0))
    runs = pd.read_csv(folder / "runs.csv")
    runs[runs["status"] == "failed"].to_csv(folder / "runs.csv", index=False)
    (folder / "manifest.json").unlink()
    for name in ("rounds", "devices"):
        header = (folder / f"{name}.csv").read_text().splitlines()[0]
        (folder / f"{name}.csv").write_text(header + "\n")
    assert "of which 1 failed" in draw(folder).read_text()


@pytest.mark.parametrize(
    ("difference", "half_width", "expected"),
    [
        (0.05, 0.02, "uniform is ahead"),
        (-0.05, 0.02, "joint is ahead"),
        (0.02, 0.05, "the interval holds zero: no winner"),
        (0.02, float("nan"), "one seed alone gives no interval"),
        (0.0, 0.0, "the same test accuracy as joint under every seed"),
        (float("nan"), float("nan"), "no difference can be given"),
    ],
)
def test_a_verdict_names_a_winner_only_where_the_interval_allows_it(
    difference: float, half_width: float, expected: str
) -> None:
    row: dict[Hashable, object] = {
        "policy": "uniform",
        "reference": "joint",
        "test_accuracy_diff": difference,
        "test_accuracy_diff_ci95": half_width,
    }
    assert expected in words.finding(row)


def test_another_reference_can_be_named_and_an_unknown_one_is_refused(compared: Path, tmp_path: Path) -> None:
    assert set(read_tables(compared, "uniform").comparison["reference"]) == {"uniform"}
    with pytest.raises(InputError, match="'nobody' is not among"):
        read_tables(compared, "nobody")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "Invalid JSON"),
        ("[]", "should be an object"),
        ("[" * 100_000, "recursion"),
        ('{"seeds": 1}', "seeds: .*array"),
    ],
)
def test_a_broken_manifest_is_one_clear_line(compared: Path, tmp_path: Path, text: str, complaint: str) -> None:
    shutil.copytree(compared, tmp_path, dirs_exist_ok=True)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=complaint):
        read_tables(tmp_path)


@pytest.mark.parametrize("who", [["uniform"], ["joint", "uniform", "pretrain-only"]])
def test_infinite_bounds_do_not_stop_a_report(compared: Path, tmp_path: Path, who: list[str]) -> None:
    shutil.copytree(compared, tmp_path, dirs_exist_ok=True)
    runs = pd.read_csv(tmp_path / "runs.csv")
    runs.loc[runs["policy"].isin(who), ["bound", "bound_ft"]] = float("inf")
    runs.to_csv(tmp_path / "runs.csv", index=False)
    assert "uniform" in draw(tmp_path).read_text()


def test_a_policy_that_is_missing_somewhere_has_no_gain_there(swept: Path, tmp_path: Path) -> None:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    runs = pd.read_csv(tmp_path / "runs.csv")
    kept = runs[(runs["policy"] != "uniform") | (runs["budget.delay_s"] != 5)]
    kept.to_csv(tmp_path / "runs.csv", index=False)
    tables = read_tables(tmp_path)
    at = words.others(tables).index("uniform")
    assert [cells[at] == "-" for _, cells in words.gains(tables)] == [True, True, False, False]


def test_a_run_that_is_there_twice_is_one_clear_line(compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path, dirs_exist_ok=True)
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    (tmp_path / "runs.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(InputError, match="joint__s0 is there twice"):
        read_tables(tmp_path)


def test_no_runs_no_report(compared: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text((compared / "runs.csv").read_text().splitlines()[0] + "\n")
    with pytest.raises(InputError, match="holds no runs"):
        draw(tmp_path)


def test_the_manifest_says_what_was_run_and_nothing_of_the_host(swept: Path) -> None:
    content = json.loads((swept / "manifest.json").read_text())
    assert content["varied"] == {"budget.delay_s": [5.0, 10.0], "budget.energy_j": [1, 2]}
    assert content["seeds"] == [0, 1, 2]
    assert {"python", "numpy", "scipy", "simpy", "pandas"} <= set(content["versions"])
    assert {"command", "policies", "reference", "checksums", "scenario"} <= set(content)


@pytest.mark.parametrize("kind", ["compared", "swept"])
def test_the_written_comparison_is_long_and_reads_back_as_that_of_the_runs(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    tables = read_tables(folder)
    written = pd.read_csv(folder / "comparison.csv")
    parts = ["figure", "mean", "ci95", "diff", "diff_ci95", "win_rate", "runs", "failed", "member"]
    assert list(written.columns) == [*tables.keys, "policy", "reference", *parts]
    assert not written.duplicated([*tables.keys, "policy", "figure"]).any()
    assert len(written) == len(tables.comparison) * (len(figures_of(tables.runs)) + 2)
    pd.testing.assert_frame_equal(read_comparison(folder), comparison(tables.runs, "joint"), check_dtype=False)


def test_a_comparison_that_is_none_is_one_clear_line(compared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prefine report"):
        read_comparison(tmp_path)
    for text in ("", "policy,figure\na,b\n", "policy\na\n"):
        (tmp_path / "comparison.csv").write_text(text)
        with pytest.raises(InputError, match="prefine report"):
            read_comparison(tmp_path)


@pytest.mark.parametrize("name", ["runs", "rounds", "devices", "clients"])
def test_every_table_has_the_keys_to_join_it_by(swept: Path, name: str) -> None:
    tables = read_tables(swept)
    keys = ["run_id", "policy", "seed", *tables.keys]
    frame = read_table(swept, name)
    assert list(frame.columns[: len(keys)]) == keys
    runs = tables.runs[keys].set_index("run_id")
    assert (frame[keys[1:]].to_numpy() == runs.loc[frame["run_id"]].to_numpy()).all()


def test_a_report_of_many_policies_shows_few_and_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"p{number}" for number in range(15)]
    monkeypatch.setattr(synthetic, "PRETRAIN_SHARE", {name: 0.02 * place for place, name in enumerate(names)})
    monkeypatch.setattr(synthetic, "ROUNDS_PER_S", {name: 1.0 + 0.1 * place for place, name in enumerate(names)})
    delays = (4.0,)
    jobs = [SyntheticJob(name, 0, (("budget.delay_s", delay),)) for delay in delays for name in names]
    results = run_many(jobs, synthetic.execute, Serial(), result_store(tmp_path))
    write_folder(tmp_path, results, manifest(jobs, {}, "p3", "", {}))
    path = draw(tmp_path)
    tables = read_tables(tmp_path)
    shown = pd.read_csv(tmp_path / "figures" / "test-accuracy-over-time-s.csv")
    best = tables.done.groupby("policy")["test_accuracy"].mean().drop("p3").nlargest(11).index
    assert set(shown["policy"]) == {"p3", *best}
    text = path.read_text()
    assert "Of 15 policies the plots show 12" in text
    assert text.count("data:image/") == len(list((tmp_path / "figures").glob("*.csv")))
    assert len(text) < 3e6
    for name, most, kinds in (("MOST_SVG_BYTES", 100_000, {"svg+xml", "png"}), ("MOST_MARKS", 0, {"png"})):
        monkeypatch.setattr(page, name, most)
        monkeypatch.setattr(page, "figures", lambda tables: list(figures(tables))[:4])
        text = draw(tmp_path, ["svg"]).read_text()
        assert set(re.findall(r"data:image/([a-z+]+)", text)) == kinds
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".csv", ".svg"}
    assert all(b"<svg" in path.read_bytes() for path in (tmp_path / "figures").glob("*.svg"))


def test_long_tables_are_cut_and_say_so(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_ROWS", 2)
    tables = read_tables(compared)
    text = page.page(tables, [], {})
    assert "first 2 rows; the CSV files have all" in text
    assert text.count('<th scope="row">joint</th>') == 3
    assert text.count('<th scope="row">pretrain-only</th>') == 1  # how its runs ended


def test_a_report_knows_what_it_was_made_from(compared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(compared, tmp_path / "copy")
    assert is_made(folder, ())
    assert not is_made(folder, ("svg",))
    for name in ("runs.csv", "manifest.json", "report.html"):
        content = (folder / name).read_bytes()
        other = content.replace(b"made-from", b"made-of") if name == "report.html" else content + b"\n"
        (folder / name).write_bytes(other)
        assert not is_made(folder, ())
        (folder / name).write_bytes(content)
    assert is_made(folder, ())
    (folder / "figures" / "timeline.csv").unlink()
    assert not is_made(folder, ())
