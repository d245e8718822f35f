"""The next letter of a text: documentation of Python as general data, descriptions of data sets as the task.

The general text is the standard library's help topics (`pydoc_data`), the task's the descriptions of the data sets in
scikit-learn: both English, on other matters. Letters are made small; whatever is no letter is a space, and spaces do
not repeat. A sample is eight letters, one-hot, and the one that follows. Its source is the description it is from, of
which the last fifth is held out: no context reaches from one part into the other.
"""

import re
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from prefine.models.data.samples import DataPair, Samples

CONTEXT = 8
SYMBOLS = 27
"""Space, a to z."""

GENERAL_SAMPLES, TASK_SAMPLES, TEST_SAMPLES = 5000, 2000, 600
HELD_OUT = 0.2


def help_to_descriptions() -> DataPair:
    """5,000 general samples, about 2,000 for the task and 600 held out; x has shape (n, 1, 8, 27), 27 classes."""
    from pydoc_data.topics import topics  # half a megabyte of text

    general = _symbols(" ".join(topics[name] for name in sorted(topics)))
    folder = resources.files("sklearn.datasets") / "descr"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".rst")), key=lambda file: file.name)
    texts = [_symbols(file.read_text(encoding="utf-8")) for file in files]
    cuts = [int((1.0 - HELD_OUT) * len(text)) for text in texts]
    return DataPair(
        name="python help to data descriptions",
        kind="classification",
        outputs=SYMBOLS,
        general=_samples([general], GENERAL_SAMPLES),
        task=_samples([text[:cut] for text, cut in zip(texts, cuts, strict=True)], TASK_SAMPLES),
        test=_samples([text[cut:] for text, cut in zip(texts, cuts, strict=True)], TEST_SAMPLES),
    )


def _symbols(text: str) -> NDArray[np.int64]:
    letters = re.sub(r"[^a-z]+", " ", text.lower()).encode()
    codes = np.frombuffer(letters, np.uint8).astype(np.int64)
    return np.where(codes == ord(" "), 0, codes - ord("a") + 1)


def _samples(texts: list[NDArray[np.int64]], count: int) -> Samples:
    """About ``count`` contexts, evenly spaced over all ``texts``, each text a source."""
    spacing = max(1.0, sum(len(text) - CONTEXT for text in texts) / count)
    x, y, source = [], [], []
    for number, text in enumerate(texts):
        starts = np.arange(0.0, len(text) - CONTEXT, spacing).astype(np.int64)
        contexts = text[starts[:, None] + np.arange(CONTEXT)]
        x.append(np.eye(SYMBOLS, dtype=np.float32)[contexts][:, None])
        y.append(text[starts + CONTEXT])
        source.append(np.full(len(starts), number))
    return Samples(np.concatenate(x), np.concatenate(y), np.concatenate(source))
