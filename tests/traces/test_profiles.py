"""Benchmark scores as device tables: both JSON forms, the pace, users and their phones, and what is refused."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from prefine.emulator.cli import app
from prefine.emulator.errors import InputError
from prefine.emulator.scenario.hardware import DeviceSettings
from prefine.traces.profiles import pace, parse_profiles

SCORES = {"Fast 1": 800, "Mid = 2": 200, "Slow": 50}


def made(folder: Path, *words: str) -> list[dict[str, float]]:
    (folder / "scores.json").write_text(json.dumps(SCORES))
    result = CliRunner().invoke(app, ["devices", str(folder / "scores.json"), *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    tables: list[dict[str, float]] = tomllib.loads(result.stdout)["device"]
    return tables


def seconds(tables: list[dict[str, float]]) -> list[float]:
    for table in tables:
        DeviceSettings(**table)  # type: ignore[arg-type]  # numbers
    return [table["cycles_per_sample"] / table["max_frequency_hz"] for table in tables]


def test_times_are_inverse_to_scores_or_follow_those_given(tmp_path: Path) -> None:
    np.testing.assert_allclose(seconds(made(tmp_path, "--seconds", "Mid = 2=0.02")), [0.005, 0.02, 0.08], rtol=1e-5)
    both = ("--seconds", "Fast 1=0.01", "--seconds", "Slow=0.04", "--max-frequency-hz", "1e9")
    np.testing.assert_allclose(seconds(made(tmp_path, *both)), [0.01, 0.02, 0.04], rtol=1e-5)  # score^-1/2
    known = parse_profiles(json.dumps({"a": 1, "b": 10, "c": 1000}).encode(), "f")
    fitted = pace({"a": 3.0, "b": 2.0, "c": 0.1}, known)
    slope, intercept = np.polyfit(np.log([1, 10, 1000]), np.log([3.0, 2.0, 0.1]), 1)
    assert (fitted.exponent, np.log(fitted.factor_s)) == pytest.approx((slope, intercept))


def test_users_bring_their_phones_in_the_benchmarks_words(tmp_path: Path) -> None:
    users, aliases = tmp_path / "users.json", tmp_path / "aliases.json"
    users.write_text(
        json.dumps({"u1": {"model": "SL-1"}, "u2": {"model": "Fast 1"}, "u3": {"model": "SL-9"}, "u4": {}})
    )
    aliases.write_text(json.dumps({"SL-1": "Slow", "SL-9": "unknown"}))
    words = ("--seconds", "Slow=0.08", "--users", str(users), "--aliases", str(aliases))
    assert seconds(made(tmp_path, *words)) == pytest.approx([0.08, 0.005])
    many = seconds(made(tmp_path, *words, "--count", "200", "--seed", "7"))
    assert many == seconds(made(tmp_path, *words, "--count", "300", "--seed", "7"))[:200]
    assert 70 < sum(one == pytest.approx(0.08) for one in many) < 130  # 100, five standard deviations are 35


def test_a_name_that_is_no_text_is_written_escaped(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"\\ud800": 1}')
    words = ["devices", str(tmp_path / "scores.json"), "--seconds", "\ud800=1", "--out", str(tmp_path / "d.toml")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert len(tomllib.loads((tmp_path / "d.toml").read_text())["device"]) == 1


def test_lists_have_scores_in_columns() -> None:
    rows = [{"Model": "A", "AI_Score": " 76206 1,6", "CPU": "1575"}, {"Model": "B", "AI_Score": "9 ", "CPU": "12"}]
    assert [each.score for each in parse_profiles(json.dumps(rows).encode(), "f").values()] == [76206.0, 9.0]
    assert parse_profiles(json.dumps(rows).encode(), "f", "CPU")["B"].score == 12.0
    with pytest.raises(InputError, match="f: 'A': score NPU is unknown, allowed: Model, AI_Score, CPU"):
        parse_profiles(json.dumps(rows).encode(), "f", "NPU")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04pickle", "f: is no JSON .*pickles are never loaded"),
        (b"[" * 100_000, "f: is no JSON"),
        (b"3", "f: is no list of device profiles; allowed"),
        (b"[]", "f: has no device profiles"),
        (b'{"a": "fast"}', "f: 'a' has the score 'fast', must be a number above 0"),
        (b'{"a": true}', "f: 'a' has the score 'True'"),
        (b'{"a": NaN}', "f: 'a' has the score 'nan'"),
        (b'{"a": null}', "f: 'a' has the score 'None'"),
    ],
)
def test_what_is_no_profile_is_one_clear_line(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_profiles(data, "f")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seconds", "Slow"], "--seconds 'Slow' must be NAME=SECONDS"),
        (["--seconds", "slow=1"], "--seconds: device 'slow' is unknown, allowed: Fast 1, Mid = 2, Slow; did you mean"),
        (["--seconds", "Slow=0"], "--seconds is 0, must be above 0"),
        (["--seconds", "Slow=1", "--seconds", "Slow=2"], "--seconds 'Slow=2': 'Slow' is there twice"),
        (["--seconds", "Slow=1", "--out", "."], r"\.: is a folder, must be a file"),
        (["--seconds", "Slow=1", "--seconds", "Fast 1=2"], "devices with higher scores must be faster"),
        (["--seconds", "Slow=1", "--aliases", "a.json"], "needs --users"),
        (["--seconds", "Slow=1", "--users", "none.json"], "none.json: cannot be read"),
    ],
)
def test_wrong_words_are_one_clear_line(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(tmp_path, *words)
