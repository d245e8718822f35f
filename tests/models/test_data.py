import gzip
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge

from prefine.emulator.errors import InputError
from prefine.emulator.scenario.task import ShiftSettings
from prefine.models.data import factory, files, letters, shift, watch
from prefine.models.data.cars import american_to_imported
from prefine.models.data.digits import mnist_to_uci, uci_halves
from prefine.models.data.samples import DataPair
from prefine.models.workload import Workload


@pytest.mark.parametrize(("columns", "least", "most"), [(20, 0.72, 0.80), (32, 0.42, 0.62)])
def test_mnist_knows_something_of_uci_digits_but_not_all(columns: int, least: float, most: float) -> None:
    """Zero-shot accuracy of a linear classifier; one trained on the task itself reaches .9."""
    pair = mnist_to_uci(columns)
    assert [len(part) for part in (pair.general, pair.task, pair.test)] == [5000, 1400, 397]
    flat = [part.x.reshape(len(part), -1) for part in (pair.general, pair.task, pair.test)]
    model = LogisticRegression(C=0.2, max_iter=200).fit(flat[0], pair.general.y)
    assert least < model.score(flat[2], pair.test.y) < most
    assert LogisticRegression(C=1.0, max_iter=200).fit(flat[1], pair.task.y).score(flat[2], pair.test.y) > 0.88


def test_cars_shift_is_real_and_learnable() -> None:
    pair = american_to_imported()
    assert [len(part) for part in (pair.general, pair.task, pair.test)] == [245, 98, 49]
    assert pair.general.x.mean(axis=0) == pytest.approx(0, abs=1e-5)
    scores = [Ridge().fit(part.x, part.y).score(pair.test.x, pair.test.y) for part in (pair.general, pair.task)]
    assert scores[0] < scores[1]
    assert scores[1] > 0.5


def shifted(pair: DataPair, **knobs: object) -> DataPair:
    return shift.apply(pair, ShiftSettings.model_validate(knobs), np.random.default_rng(0))


def test_no_shift_is_no_change() -> None:
    pair = uci_halves()
    assert shifted(pair).general is pair.general


def test_rotation_turns_the_general_images_only() -> None:
    pair = uci_halves()
    turned = shifted(pair, rotation_deg=90.0)
    assert np.allclose(turned.general.x, np.rot90(pair.general.x, axes=(2, 3)), atol=1e-5)
    assert turned.task is pair.task


def test_noise_has_the_given_deviation() -> None:
    pair = uci_halves()
    noise = shifted(pair, noise=0.3).general.x - pair.general.x
    assert noise.std() == pytest.approx(0.3, rel=0.02)


def test_label_tilt_and_class_subset() -> None:
    pair = uci_halves()
    counts = np.sort(np.bincount(shifted(pair, label_tilt=2.0).general.y, minlength=10))
    assert counts[0] / counts[-1] == pytest.approx(np.exp(-2.0), rel=0.25)
    assert len(np.unique(shifted(pair, classes=3).general.y)) == 3


@pytest.mark.parametrize(
    ("knobs", "words"), [({"rotation_deg": 10.0}, "needs images"), ({"classes": 2}, "classification")]
)
def test_shift_that_makes_no_sense_is_refused(knobs: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shifted(american_to_imported(), **knobs)


def arrays(**changed: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for part, count in (("general", 20), ("task", 12), ("test", 6)):
        made |= {f"{part}_x": generator.random((count, 5)), f"{part}_y": np.arange(count) % 3}
    return {name: value for name, value in (made | changed).items() if value is not None}


def test_npz_of_classes_and_of_a_regression(tmp_path: Path, workload: Callable[..., Workload]) -> None:
    np.savez(tmp_path / "own.npz", **arrays(task_source=np.arange(12) // 3))
    pair = files.load(tmp_path / "own.npz")
    assert (pair.kind, pair.outputs, len(pair.general)) == ("classification", 3, 20)
    made = workload(data=str(tmp_path / "own.npz"), samples=None, partition="source", devices=4)
    assert [len(part) for part in made._federation.parts] == [3, 3, 3, 3]
    made.learner(0, 0.1).pretrain(4)
    real: dict[str, Any] = {name: values * 1.0 for name, values in arrays().items()}
    np.savez(tmp_path / "real.npz", **real)
    assert files.load(tmp_path / "real.npz").kind == "regression"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task_y": None}, "no array task_y"),
        ({"task_x": np.full((12, 5), np.nan)}, "task.*NaN"),
        ({"task_x": np.zeros((12, 4))}, "differ in shape"),
        ({"task_x": np.zeros((11, 5))}, "task"),
        ({"task_x": np.zeros((0, 5)), "task_y": np.zeros(0, int)}, "n >= 1"),
        ({"test_y": np.full(6, -1)}, "numbered from 0"),
        ({"test_x": np.array([["a"] * 5] * 6)}, "must be numbers"),
        ({"task_source": np.zeros(3, int)}, "task_source"),
        ({"task_x": np.array([{}] * 12, dtype=object)}, "plain arrays"),
    ],
)
def test_wrong_npz_is_told_what_is_wrong(changed: dict[str, object], words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays(**changed))
    with pytest.raises(ValueError, match=words) as caught:
        files.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut short"])
def test_damaged_npz(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(ValueError, match="no readable"):
        files.load(tmp_path / "own.npz")


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for part in files.PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "images-idx3-ubyte").write_bytes(idx(generator.integers(256, size=(9, 6, 5))))
        (tmp_path / part / "labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(9) % 4)))
    return tmp_path


def test_idx_folder(idx_folder: Path) -> None:
    pair = files.load(idx_folder)
    assert pair.general.x.shape == (9, 1, 6, 5)
    assert 0.9 < pair.general.x.max() <= 1.0
    assert pair.outputs == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\0\0\x08\x01\0\0\0\x09abc", "header says"), (b"xyz", "not an IDX"), (b"\0\0\x08\x02\0", "cut")],
)
def test_damaged_idx(idx_folder: Path, content: bytes, words: str) -> None:
    (idx_folder / "task" / "labels-idx1-ubyte.gz").unlink()
    (idx_folder / "task" / "labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        files.load(idx_folder)
    assert "labels-idx1-ubyte" in str(caught.value)


def test_image_folder(tmp_path: Path) -> None:
    for part in files.PARTS:
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            Image.new("RGB", (6, 5), (0, 255 * label, 0)).save(tmp_path / part / name / "a.png")
    pair = files.load(tmp_path)
    assert pair.task.x.shape == (2, 3, 5, 6)
    assert pair.task.y.tolist() == [0, 1]
    assert pair.task.x[1, 1].min() == 1.0
    Image.new("RGB", (7, 5)).save(tmp_path / "task" / "dog" / "b.png")
    with pytest.raises(ValueError, match=r"b\.png: shape"):
        files.load(tmp_path)
    (tmp_path / "task" / "dog" / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png: not a readable image"):
        files.load(tmp_path)


SAVED = Path(__file__).parent / "huggingface"
"""Written by ``DatasetDict.save_to_disk`` of datasets 5.2.0."""


def test_hugging_face_data_sets_as_their_library_saved_them() -> None:
    images = files.load(SAVED / "images")
    assert (images.kind, images.outputs, images.general.x.shape) == ("classification", 3, (6, 3, 4, 5))
    assert images.test.y.tolist() == [0, 1, 2, 0]
    arrays = files.load(SAVED / "arrays")  # two files in its general part, a shuffled task
    assert (arrays.kind, arrays.general.x.shape) == ("regression", (6, 2, 3, 4))
    assert arrays.general.x[:, 1, 2, 3].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert np.array_equal(arrays.task.x[:, 0, 0, 0], 2 * arrays.task.y)
    assert arrays.task.source.tolist() == (arrays.task.y.astype(int)).tolist()


def save(folder: Path, table: Any) -> None:
    import pyarrow as arrow

    path = str(folder / "data-00000-of-00001.arrow")
    with arrow.OSFile(path, "wb") as file, arrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"label": [0, 1], "text": ["a", "b"]}, "column text: holds string"),
        ({"label": [0, 1], "x": [[1.0], [1.0, 2.0]]}, "column x: .* differ in shape"),
        ({"label": [0, 1], "x": [[1.0], None]}, "column x: .* not all there"),
        ({"label": [0, None], "x": [1.0, 2.0]}, "column label: .* without a value"),
        ({"label": [0, 1], "y": [0, 1], "x": [1.0, 2.0]}, "exactly one of the columns label"),
        ({"label": [0, 1]}, "features beside it"),
        ({"label": [0, 1], "x": [[1.0], [2.0]], "z": [1, 2]}, "features beside x"),
        ({"label": [0, 1], "x": [{"bytes": None, "path": "a.png"}] * 2}, "names image files"),
        ({"label": [0, 1], "x": [{"bytes": b"none", "path": None}] * 2}, "row 0: not a readable image .it is none"),
        ({"label": [], "x": []}, "no rows"),
    ],
)
def test_a_wrong_hugging_face_data_set_is_told_what_is_wrong(
    columns: dict[str, Any], words: str, tmp_path: Path
) -> None:
    arrow = pytest.importorskip("pyarrow")
    shutil.copytree(SAVED / "arrays", tmp_path / "own")
    table = arrow.table(columns)
    save(tmp_path / "own" / "task", table)
    with pytest.raises(ValueError, match=words) as caught:
        files.load(tmp_path / "own")
    assert "own/task" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_of_numbers_stand_side_by_side(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"height": [1.5, 2.5], "y": [0, 1], "width": [3, 4]})
    for part in files.PARTS:
        shutil.copytree(SAVED / "arrays" / "task", tmp_path / part)
        save(tmp_path / part, table)
    assert files.load(tmp_path).task.x.tolist() == [[1.5, 3.0], [2.5, 4.0]]


def test_damaged_or_missing_arrow_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SAVED / "images", tmp_path / "own")
    file = tmp_path / "own" / "task" / "data-00000-of-00001.arrow"
    content = file.read_bytes()
    for damaged in (content[:700], b"", content[:300] + b"\xff" * 64 + content[364:]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="own/task") as caught:
            files.load(tmp_path / "own")
        assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(ValueError, match="not a readable Hugging Face data set"):
        files.load(tmp_path / "own")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"prefine\[parquet\]"):
        files.load(tmp_path / "own")


def test_missing_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such"):
        files.load(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="no folder general"):
        files.load(tmp_path)


def test_letters_are_a_text_and_what_follows_it() -> None:
    pair = letters.help_to_descriptions()
    alphabet = " abcdefghijklmnopqrstuvwxyz"
    for part, count in ((pair.general, 5000), (pair.task, 2000), (pair.test, 600)):
        assert len(part) == pytest.approx(count, rel=0.02)
        assert part.x.shape[1:] == (1, 8, 27)
        assert (part.x.sum(axis=3) == 1.0).all()
    words = "".join(alphabet[symbol] for symbol in pair.general.x[0, 0].argmax(axis=1)) + alphabet[pair.general.y[0]]
    from pydoc_data.topics import topics

    text = re.sub(r"[^a-z]+", " ", " ".join(topics[name] for name in sorted(topics)).lower())
    assert text.startswith(words)
    assert len(np.unique(pair.task.source)) >= 10
    assert not {x.tobytes() for x in pair.task.x} >= {x.tobytes() for x in pair.test.x}


def test_letters_can_be_learnt(workload: Callable[..., Workload]) -> None:
    made = workload(data="letters", samples=400)
    learner = made.learner(0, 0.3)
    for _ in range(150):
        learner.pretrain(64)
    chance = learner.evaluate().chance_accuracy
    assert 0.1 < chance < 0.25  # the space
    assert learner.evaluate().test_accuracy > chance + 0.04


def test_watch_knows_something_of_other_people_but_not_all() -> None:
    """Neighbours overlap by half, nothing held out is in the task; some people teach about others, but not all."""
    pair = watch.other_people()
    assert [len(part) for part in (pair.general, pair.task, pair.test)] == [2289, 2052, 442]
    assert pair.general.x.mean(axis=(0, 1, 3)) == pytest.approx(0, abs=0.05)
    assert len(np.unique(pair.task.source)) == 10
    assert not set(pair.task.source) & set(pair.general.source)
    flat = [part.x.reshape(len(part), -1) for part in (pair.general, pair.task, pair.test)]
    assert not {row.tobytes() for row in flat[1]} & {row.tobytes() for row in flat[2]}
    assert np.allclose(flat[0].reshape(-1, 6, 24)[0, :, 12:], flat[0].reshape(-1, 6, 24)[1, :, :12])
    scores = [
        LogisticRegression(C=0.1, tol=0.01, max_iter=500).fit(x, part.y).score(flat[2], pair.test.y)
        for x, part in ((flat[0], pair.general), (flat[1], pair.task))
    ]
    assert 0.6 < scores[0] < scores[1] - 0.05


def test_watch_without_its_package_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"prefine\[sensors\]"):
        watch.other_people()


FACTORY = """
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset


def tensors():
    x, y = torch.arange(60.0).reshape(20, 3), torch.arange(20) % 2
    return TensorDataset(x, y), TensorDataset(x[:12], y[:12]), TensorDataset(x[12:], y[12:])


class Lines(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return [float(index), 1.0], index / 10


def items():
    return {"general": Lines(20), "task": Lines(10), "test": Lines(5)}


def arrays():
    x, y = np.ones((8, 3)), np.arange(8) % 2
    return (x, y), (x, y), (x, y)


def two():
    return 1, 2


def lacking():
    return {"general": Lines(3), "task": Lines(3)}


def broken():
    raise KeyError("no disk")


def empty():
    return Lines(0), Lines(1), Lines(1)


def ragged():
    return (np.ones((8, 3)), np.zeros(8, int)), (np.ones((8, 2)), np.zeros(8, int)), (np.ones((8, 3)), np.zeros(8, int))


thing = 3
"""


def test_data_from_a_function_of_the_users_own(tmp_path: Path, workload: Callable[..., Workload]) -> None:
    path = tmp_path / "own.py"
    path.write_text(FACTORY)
    pair = factory.load(f"{path}:tensors", Path())
    assert (pair.kind, pair.outputs) == ("classification", 2)
    assert [len(part) for part in (pair.general, pair.task, pair.test)] == [20, 12, 8]
    assert pair.task.x[1].tolist() == [3.0, 4.0, 5.0]
    regression = factory.load(f"{path}:items", Path())
    assert (regression.kind, regression.task.y[3]) == ("regression", np.float32(0.3))
    assert factory.load("own.py:arrays", tmp_path).general.x.shape == (8, 3)
    made = workload(data=f"{path}:tensors", samples=None, model="logistic")
    made.learner(0, 0.1).pretrain(4)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("two", "must be general, task, test"),
        ("lacking", "no 'test'"),
        ("broken", "KeyError.*when it was called"),
        ("empty", "has 0 samples"),
        ("ragged", "differ in shape"),
        ("thing", "must be a function"),
        ("absent", "has no absent"),
    ],
)
def test_a_wrong_function_is_told_what_is_wrong(function: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FACTORY)
    with pytest.raises((ValueError, InputError), match=words) as caught:
        factory.load("own.py:" + function, tmp_path)
    assert "\n" not in str(caught.value)
