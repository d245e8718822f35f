"""A notebook in jupytext's percent format as a page: text, code, and what each cell printed, showed and drew."""

import ast
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

import jupytext
import matplotlib as mpl

PICTURE = "image/svg+xml"


@dataclass
class Page:
    """Markdown, and the pictures it names, each as the bytes of an SVG file."""

    text: str
    pictures: dict[str, bytes] = field(default_factory=dict)


def page(script: str, name: str) -> Page:
    """Run the notebook ``script`` from top to bottom; pictures are called ``name``-1.svg and so on.

    What a cell raises, this raises: a notebook that does not run is no page.
    """
    mpl.use("agg")
    parts, pictures = [], {}
    session = Session()
    for cell in jupytext.reads(script, fmt="py:percent").cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += session.run(cell.source)
        for drawn in session.drawn():
            file = f"{name}-{len(pictures) + 1}.svg"
            pictures[file] = drawn
            parts.append(f"![Output]({file}){{ .drawn }}")
    return Page("\n\n".join(parts) + "\n", pictures)


class Session:
    """The names that cells share, as in a kernel."""

    def __init__(self) -> None:
        self._names: dict[str, object] = {"__name__": "__main__"}

    def run(self, source: str) -> Iterator[str]:
        """Run a cell: what it printed and the value of its last line, as Markdown."""
        tree = ast.parse(source)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, "<cell>", "exec"), self._names)
            value = None if last is None else eval(compile(last, "<cell>", "eval"), self._names)
        if printed.getvalue():
            yield _text(printed.getvalue())
        if value is not None:
            yield _shown(value)

    def drawn(self) -> Iterator[bytes]:
        """The figures that are open, as SVG; they are closed."""
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            file = io.BytesIO()
            pyplot.figure(number).savefig(file, format="svg", bbox_inches="tight")
            yield file.getvalue()
        pyplot.close("all")


def _shown(value: object) -> str:
    """As a notebook shows it: HTML where the value has it, else its repr."""
    html = getattr(value, "_repr_html_", lambda: None)()
    if html is None:
        return _text(repr(value))
    lines = "\n".join(line for line in html.splitlines() if line.strip())
    return f'<div class="shown">{lines}</div>'


def _text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
