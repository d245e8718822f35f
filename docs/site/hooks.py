"""What MkDocs does besides: pages from outside docs/, notebooks that run, and links where a page is named."""

import re
from pathlib import Path

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import page as notebook_page

ROOT = Path(__file__).parents[2]
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
OUTSIDE |= {"CITATION.cff": "CITATION.cff"}
NAMED = re.compile(r"<(a|pre|code|h\d)\b.*?</\1>|\b(?:docs/)?([\w-]+)\.md\b", flags=re.DOTALL)
"""What is left alone, or the name of a page in running text."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of other folders, and the notebooks with what they draw, each also as a file to open in Jupyter."""
    for name, at in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, at, content=text.replace("](docs/", "](")))
    for script in sorted((ROOT / "examples").glob("*.py")):
        text = script.read_text(encoding="utf-8")
        if not text.startswith("# %%"):
            continue
        made = notebook_page(text, script.stem)
        opened = f"[Open in Jupyter]({script.stem}.ipynb){{ .opened }}\n\n"
        heading, _, rest = made.text.partition("\n")
        content = f"{heading}\n\n{opened}{rest}"
        files.append(File.generated(config, f"examples/{script.stem}.md", content=content))
        document = jupytext.writes(jupytext.reads(text, fmt="py:percent"), fmt="ipynb")
        files.append(File.generated(config, f"examples/{script.stem}.ipynb", content=document))
        for name, picture in made.pictures.items():
            files.append(File.generated(config, f"examples/{name}", content=picture))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page that running text names, docstrings included, becomes a link; raises PluginError where there is none."""

    def linked(found: re.Match[str]) -> str:
        if found[2] is None:
            return found[0]
        target = files.get_file_from_path("index.md" if found[2] == "README" else f"{found[2]}.md")
        if target is None:
            raise PluginError(f"{page.file.src_uri} names {found[0]}, which is no page")
        return f'<a href="{target.url_relative_to(page.file)}">{found[0]}</a>'

    return NAMED.sub(linked, html)
