"""Files from anywhere, damaged at random: each is read, or refused in one printable line; nothing else ever happens.

One test per door. In `make test` a few inputs, in `make fuzz` thousands; it prints how many it tried.
"""

import gzip
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefine.emulator import cache
from prefine.emulator.analysis.output import read_tables
from prefine.emulator.channel.tracefile import trace_of
from prefine.emulator.errors import PrefineError, one_line
from prefine.emulator.experiment.store import Store
from prefine.emulator.problem_file import dump_problem, parse_problem
from prefine.emulator.scenario.scenario import parse_scenario
from prefine.emulator.simulation.availability import availability_of
from prefine.emulator.simulation.run import run
from prefine.models.data import files, huggingface, pictures
from tests.emulator.scenario.small import SMALL
from tests.emulator.simulation.worlds import plan, problem, run_spec
from tests.fuzz.effort import examples
from tests.fuzz.mutants import mutants

SAVED = Path(__file__).parents[1] / "models" / "huggingface"
ARROW = "data-00000-of-00001.arrow"

Open = Callable[[bytes, Path], object]


@dataclass(frozen=True)
class Door:
    """``originals`` are good files; ``open`` reads one and raises ``refusals`` for a bad one."""

    originals: Callable[[], list[bytes]]
    open: Open
    refusals: tuple[type[Exception], ...] = (PrefineError,)


def _npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # arrays by name
    return buffer.getvalue()


def _compressed(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # arrays by name
    return buffer.getvalue()


def _pair(**changes: object) -> dict[str, object]:
    good = {f"{part}_x": np.ones((6, 4)) for part in files.PARTS} | {f"{part}_y": np.arange(6) for part in files.PARTS}
    return {**good, **changes}


def _idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def _picture(kind: str, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (9, 7)).save(buffer, kind)
    return buffer.getvalue()


def _own_data(data: bytes, folder: Path) -> object:
    (folder / "own.npz").write_bytes(data)
    return files.load(folder / "own.npz")


def _idx_file(name: str) -> Open:
    def load(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return files._idx(folder / name)

    return load


def _image(data: bytes, folder: Path) -> object:
    (folder / "x.png").write_bytes(data)
    return pictures.pixels(io.BytesIO(data), "x.png")


def _arrows() -> list[bytes]:
    return [(SAVED / name / "task" / ARROW).read_bytes() for name in ("images", "arrays")]


def _arrow_file(data: bytes, folder: Path) -> object:
    (folder / huggingface.STATE).write_bytes((SAVED / "images" / "task" / huggingface.STATE).read_bytes())
    (folder / ARROW).write_bytes(data)
    return huggingface.read(folder)


def _stored() -> list[bytes]:
    world = problem(2)
    spec = run_spec(world, plan(world))
    result = run(spec, "p", 0)
    return [json.dumps(document).encode() for document in (_document(result),)]


def _document(result: object) -> object:
    from prefine.emulator.experiment.store import _encode

    return _encode(result)  # type: ignore[arg-type]  # a RunResult


def _load_stored(data: bytes, folder: Path) -> object:
    """The JSON is damaged, then compressed: the file is a valid gzip."""
    (folder / "key.json.gz").write_bytes(gzip.compress(data))
    found = Store(folder).load("key")
    if found is not None:
        Store(folder).save("again", found)
        assert Store(folder).load("again") is not None
    return found


def _load_stored_file(data: bytes, folder: Path) -> object:
    (folder / "key.json.gz").write_bytes(data)
    return Store(folder).load("key")


def _cached(data: bytes, folder: Path) -> object:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setenv("PREFINE_CACHE", str(folder))
        (folder / f"x{cache.SUFFIX}").write_bytes(data)
        assert cache.remember("x", lambda: {"a": 1}, lambda made: json.dumps(made).encode(), json.loads) == {"a": 1}
    return None


def _kept() -> list[bytes]:
    from hashlib import sha256

    return [sha256(b'{"a": 1}').digest() + b'{"a": 1}']


def _tables(name: str) -> tuple[Callable[[], list[bytes]], Open]:
    """Damages one file of an output folder."""

    def originals() -> list[bytes]:
        return [(_output() / name).read_bytes()]

    def load(data: bytes, folder: Path) -> object:
        for path in _output().iterdir():
            if path.is_file():
                (folder / path.name).write_bytes(data if path.name == name else path.read_bytes())
        return read_tables(folder)

    return originals, load


def _output() -> Path:
    import tempfile

    from prefine.emulator.experiment.executor import Serial
    from prefine.emulator.experiment.folder import manifest, result_store, write_folder
    from prefine.emulator.experiment.runs import run_many
    from tests.emulator.experiment.synthetic import SyntheticJob, execute

    if "made" not in _FOLDER:
        folder = Path(tempfile.mkdtemp())
        jobs = [SyntheticJob(name, seed) for name in ("joint", "uniform") for seed in range(2)]
        results = run_many(jobs, execute, Serial(), result_store(folder))
        write_folder(folder, results, manifest(jobs, {}, "uniform", "test", {}))
        _FOLDER["made"] = folder
    return _FOLDER["made"]


_FOLDER: dict[str, Path] = {}


def _trace_text() -> list[bytes]:
    folder = Path(str(resources.files("prefine.traces")))
    bundled = [path.read_bytes() for path in sorted(folder.glob("*.csv"))]
    return [
        *(text[: text.rindex(b"\n", 0, 3000)] for text in bundled),
        b"# end_s: 3, 4\ntime_s,device,gain_db\n0,0,-90\n0,1,-91.5\n1.5,0,-inf\n",
    ]


DOORS = {
    "scenario": Door(
        lambda: [SMALL.encode()], lambda data, _: parse_scenario(data.decode("utf-8", "replace"), "s.toml")
    ),
    "problem": Door(
        lambda: [dump_problem(problem(2)).encode()],
        lambda data, _: parse_problem(data.decode("utf-8", "replace"), "p.json"),
    ),
    "trace": Door(_trace_text, lambda data, _: trace_of(data, "t.csv")),
    "availability": Door(
        lambda: [b"time_s,device,available\n0,0,1\n1,0,0\n0,1,1\n2.5,1,0\n3,1,1\n"],
        lambda data, _: availability_of(data, "a.csv", 2),
    ),
    "npz": Door(
        lambda: [_npz(**_pair()), _compressed(**_pair()), _npz(**_pair(task_source=np.arange(6)))],
        _own_data,
        (ValueError,),
    ),
    "IDX": Door(lambda: [_idx(np.ones((4, 3, 3))), _idx(np.arange(9))], _idx_file("images"), (ValueError,)),
    "IDX.gz": Door(lambda: [gzip.compress(_idx(np.ones((4, 3, 3))))], _idx_file("images.gz"), (ValueError,)),
    "image": Door(
        lambda: [_picture(kind, mode) for kind in ("PNG", "JPEG", "BMP") for mode in ("L", "RGB")],
        _image,
        (ValueError,),
    ),
    "Arrow": Door(_arrows, _arrow_file, (ValueError,)),
    "stored JSON": Door(_stored, _load_stored),
    "stored file": Door(lambda: [gzip.compress(text) for text in _stored()], _load_stored_file),
    "cache": Door(_kept, _cached),
    "runs.csv": Door(*_tables("runs.csv")),
    "devices.csv": Door(*_tables("devices.csv")),
    "manifest.json": Door(*_tables("manifest.json")),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DOORS)
def test_damaged_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    door = DOORS[name]
    originals = door.originals()
    for original in originals:
        door.open(original, tmp_path)
    refused = 0
    for tried, data in enumerate(mutants(originals, examples(60, 2000), seed=len(name)), 1):
        try:
            door.open(data, tmp_path)
        except door.refusals as refusal:
            refused += 1
            said = str(refusal)
            if isinstance(refusal, PrefineError):
                assert said == one_line(said), data
        except BaseException as error:  # noqa: BLE001  # that is the question
            pytest.fail(f"{name}, input {tried}: {type(error).__name__}: {error}\n{data[:2000]!r}")
    print(f"\n{name}: {tried} inputs, {refused} refused, 0 unexpected")
