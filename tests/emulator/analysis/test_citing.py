"""What to cite follows from the manifest."""

import json
import re
from pathlib import Path

import pytest

import prefine
from prefine.emulator.analysis import citing
from prefine.emulator.errors import InputError

DIGITS = {"alpaydin1998", "lecun1998"}


def cited(folder: Path, policies: list[str], varied: dict[str, list[object]], **scenario: object) -> set[str]:
    content = {"policies": policies, "varied": varied, "scenario": scenario}
    (folder / "manifest.json").write_text(json.dumps(content))
    said = prefine.cite(folder)
    assert said.count("{") == said.count("}")
    return set(re.findall(r"^@\w+\{(\w+),$", said, flags=re.MULTILINE))


def test_what_was_used_is_cited_and_nothing_else(tmp_path: Path) -> None:
    channel: dict[str, object] = {"model": "rayleigh", "path_loss": "uma", "shadowing_db": 0.0}
    used = cited(tmp_path, ["joint", "fedl", "mine"], {}, channel=channel, task={"data": "digits"})
    assert used == {"prefine", "lyu2025", "tran2019", "xiao2006", "tr38901"} | DIGITS
    used = cited(tmp_path, ["uniform"], {"training.algorithm": ["fedprox", "scaffold"]}, channel={"model": "trace"})
    assert used == {"prefine", "li2020", "karimireddy2020"}
    used = cited(tmp_path, [], {"channel.shadowing_db": [0.0, 8.0]}, channel={"model": "static", "gain_db": [-80.0]})
    assert used == {"prefine"}
    used = cited(tmp_path, [], {"channel.shadowing_db": [0.0, 8.0]}, channel={"model": "static"})
    assert used == {"prefine", "gudmundson1991"}
    mixed: dict[str, object] = {"mode": "asynchronous", "mixing": 0.6}
    used = cited(tmp_path, ["uniform"], {"task.finetune": ["lora", "all"]}, aggregation=mixed)
    assert used == {"prefine", "nguyen2022", "xie2019", "hu2022"}
    used = cited(tmp_path, ["uniform"], {"training.algorithm": [["fedprox"], {}]}, channel={"path_loss": ["uma"]})
    assert used == {"prefine"}


def test_every_entry_is_used_and_every_policy_is_installed() -> None:
    named = {key for keys in (*citing.POLICIES.values(), *citing.PATH_LOSS.values()) for key in keys}
    named |= {key for values in citing.SETTINGS.values() for keys in values.values() for key in keys}
    assert named | {"gudmundson1991", "xie2019"} == set(citing._entries())
    assert set(citing.POLICIES) <= set(prefine.list_policies())


def test_a_folder_without_a_manifest_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is .* an output folder"):
        prefine.cite(tmp_path)
