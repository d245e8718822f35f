"""What a report was made from, so that one that would come out the same is not drawn again."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from prefine.emulator.analysis.entries import FILES, HINDSIGHT, REHEARSALS
from prefine.emulator.identity import program
from prefine.emulator.options import FigureFormat, FigureWidth

_MADE_FROM = re.compile(r'<meta name="made-from" content="(\w+)((?: [\w-]+)*)">')
_HEAD_CHARACTERS = 20_000


def source_of(folder: Path, formats: Sequence[FigureFormat], width: FigureWidth = "page") -> str:
    """A digest of all that determines the report of ``folder``: tables, manifest, this program, how it is drawn."""
    digest = hashlib.sha256(json.dumps([program(), version("matplotlib"), version("pandas"), width, *formats]).encode())
    for path in sorted(Path(__file__).parent.glob("page.*")):
        digest.update(path.read_bytes())
    for name in (*(f"{table}.csv" for table in (*FILES, HINDSIGHT, REHEARSALS)), "manifest.json"):
        with suppress(FileNotFoundError), (folder / name).open("rb") as file:
            digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def mark(source: str, names: Iterable[str]) -> str:
    """What a report says in its head of its source (`source_of`) and of its figures, by name."""
    return " ".join([source, *names])


def is_made(folder: Path, formats: Sequence[FigureFormat], width: FigureWidth = "page") -> bool:
    """Whether report.html and its figures in ``folder`` are there and are what they would be if made again."""
    try:
        with (folder / "report.html").open(encoding="utf-8") as page:
            found = _MADE_FROM.search(page.read(_HEAD_CHARACTERS))
    except (OSError, UnicodeDecodeError):
        return False
    if found is None or found[1] != source_of(folder, formats, width):
        return False
    files = (folder / "figures" / f"{name}.{kind}" for name in found[2].split() for kind in ("csv", *formats))
    return all(path.is_file() for path in files)
