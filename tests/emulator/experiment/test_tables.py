"""Tables: every digit there and back, whatever is stored, written or read."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefine.emulator.analysis import writing
from prefine.emulator.analysis.comparison import comparison
from prefine.emulator.analysis.entries import FILES, Entry
from prefine.emulator.analysis.lines import cells, frame_lines
from prefine.emulator.analysis.reading import read_table, write_parquet
from prefine.emulator.analysis.tables import VALIDATED, runs_table, table, varied_keys
from prefine.emulator.analysis.writing import write_tables
from prefine.emulator.device_table import DeviceTable
from prefine.emulator.errors import InputError
from prefine.emulator.experiment.store import Store
from prefine.emulator.records import DeviceRecord, RunRecord, RunResult
from tests.emulator.experiment.synthetic import SyntheticJob, execute

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=20)

MANY_FLOATS = st.lists(ANY_FLOAT | st.floats(-1e6, 1e6) | st.integers(-9, 9).map(float), min_size=1)
ANY = st.none() | st.booleans() | ANY_FLOAT | WORDS


def same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def result(value: float = 1.0, reason: str = "delay budget") -> RunResult:
    base = execute(SyntheticJob("joint", 0))
    return replace(base, run=base.run._replace(train_loss=value, stop_reason=reason))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY_FLOAT, reason=WORDS)
def test_floats_and_words_survive_csv_and_store(tmp_path: Path, value: float, reason: str) -> None:
    original = result(value, reason)
    store = Store(tmp_path / "store")
    store.save("key", original)
    stored = store.load("key")
    assert stored is not None
    assert same(stored.run.train_loss, value)
    assert stored.run.stop_reason == reason
    assert stored.devices == original.devices

    write_tables(tmp_path, [Entry("r", (), original)])
    read = read_table(tmp_path, "runs")
    assert same(float(read["train_loss"].iloc[0]), value)
    assert read["stop_reason"].iloc[0] == reason


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANY_FLOAT, st.integers(-9, 9), WORDS, ANY), min_size=1))
def test_lines_are_those_that_pandas_writes(rows: list[tuple[object, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["a", 'b "', "c,", "d"])
    frame = frame.astype({"a": "float64", "c,": "str", "d": "object"})
    assert "".join(frame_lines(frame)) == frame.to_csv(index=False, lineterminator="\n")


@settings(max_examples=200, deadline=None)
@given(MANY_FLOATS)
def test_decimals_are_pythons_with_pyarrow_and_without(values: list[float]) -> None:
    expected = ["" if math.isnan(value) else repr(value) for value in values]
    assert cells(np.array(values)) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        assert cells(np.array(values)) == expected


def test_columns_are_the_records_field_names(tmp_path: Path) -> None:
    write_tables(tmp_path, [Entry("r", (), result())])
    for name, record in FILES.items():
        header = (tmp_path / f"{name}.csv").read_text().splitlines()[0]
        columns = [column for column in record._fields if column not in VALIDATED]
        assert header.split(",") == ["run_id", *(() if name == "runs" else ("policy", "seed")), *columns]


def test_a_validated_run_brings_its_columns_to_rows_that_are_written_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_AT_ONCE", 1)
    plain = replace(result(), run=result().run._replace(policy='a "b", c'))
    rounds = tuple(row._replace(validation_loss=0.5, validation_accuracy=0.25) for row in plain.rounds)
    run = plain.run._replace(validation_loss=0.5, validation_accuracy=0.25)
    validated = replace(plain, run=run, rounds=rounds)
    write_tables(tmp_path, [Entry(str(i), (), one) for i, one in enumerate((plain, plain, validated, plain))])
    for name, of_each in (("rounds", len(rounds)), ("runs", 1)):
        read = read_table(tmp_path, name)
        assert list(read.columns[-2:]) == list(VALIDATED)
        assert set(read["policy"]) == {'a "b", c'}
        there = read["run_id"] == "2"
        assert read.loc[there, list(VALIDATED)].to_numpy().tolist() == [[0.5, 0.25]] * of_each
        assert read.loc[~there, list(VALIDATED)].isna().all(axis=None)
    figures = set(comparison(read_table(tmp_path, "runs"), 'a "b", c').columns)
    assert {"validation_loss_mean", "validation_accuracy_win_rate"} <= figures
    write_tables(tmp_path, [Entry("r", (), plain)])
    assert "validation_loss_mean" not in comparison(read_table(tmp_path, "runs"), 'a "b", c').columns


def test_tables_do_not_depend_on_how_many_rows_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = replace(result(), devices=DeviceTable.of(result().devices))
    written = []
    for at_once in (writing.ROWS_AT_ONCE, 1):  # the second makes parts of the first run, before any header
        monkeypatch.setattr(writing, "ROWS_AT_ONCE", at_once)
        write_tables(tmp_path, [Entry(name, (("budget.delay_s", 4),), many) for name in "ab"])
        written.append((tmp_path / "devices.csv").read_bytes())
    assert len(many.devices) > 1
    assert written[0] == written[1]


def test_tables_read_back_equal(tmp_path: Path) -> None:
    written = [result(), replace(result(), rounds=(), devices=())]
    write_tables(tmp_path, [Entry(str(index), (), one) for index, one in enumerate(written)])
    read = read_table(tmp_path, "devices")
    assert list(read["run_id"]) == ["0"] * len(written[0].devices)
    pd.testing.assert_frame_equal(
        read.drop(columns=["run_id", "policy", "seed"]),
        table(DeviceRecord, [row for one in written for row in one.devices]),
    )


def test_many_rows_of_a_run_are_written_by_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (
        replace(result(), devices=result().devices[:2]),
        replace(result(), devices=DeviceTable.of(result().devices)),
    )
    entries = [Entry("a", (("k", 1),), many), Entry("b", (("k", 2),), few), Entry("c", (("k", 3),), many)]
    write_tables(tmp_path / "whole", entries)
    monkeypatch.setattr(writing, "ROWS_AT_ONCE", 3)
    write_tables(tmp_path / "parts", entries)
    whole, parts = ((tmp_path / name / "devices.csv").read_bytes() for name in ("whole", "parts"))
    assert len(many.devices) > 3
    assert parts == whole


def test_varied_keys_become_columns_after_the_seed(tmp_path: Path) -> None:
    varied = (("budget.delay_s", 10), ("channel.model", "static"))
    write_tables(tmp_path, [Entry("r", varied, result())])
    runs = read_table(tmp_path, "runs")
    assert list(runs.columns[2:6]) == ["seed", "budget.delay_s", "channel.model", "status"]
    assert varied_keys(runs) == ["budget.delay_s", "channel.model"]


def test_no_runs_still_have_columns(tmp_path: Path) -> None:
    assert list(runs_table([]).columns) == ["run_id", *(name for name in RunRecord._fields if name not in VALIDATED)]


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    write_tables(tmp_path, [Entry("r", (), result(math.nan))])
    write_parquet(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "runs.parquet"), read_table(tmp_path, "runs"))


def test_parquet_without_pyarrow_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="pip install"):
        write_parquet(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace("test_accuracy", "accuracy"), "column 'test_accuracy' is missing"),
        (lambda text: text.replace("joint,0,", "joint,zero,"), "line 2: seed = 'zero' is not a number"),
        (lambda text: text.replace("joint,0,", "joint,,"), "line 2: seed = 'nan' is not a number"),
        (lambda text: text + "1,2,3\n" * 2 + ",".join("x" * 99) + "\n", "cannot be read as a table"),
        (lambda text: "", "cannot be read as a table"),
    ],
)
def test_a_broken_table_is_one_clear_line(tmp_path: Path, change, complaint: str) -> None:  # type: ignore[no-untyped-def]  # a lambda of the list above
    write_tables(tmp_path, [Entry("r", (), result())])
    path = tmp_path / "runs.csv"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=complaint) as raised:
        read_table(tmp_path, "runs")
    assert "\n" not in str(raised.value)


def test_a_missing_table_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path, "runs")
