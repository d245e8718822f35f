"""The report as a browser shows it: on a phone in the dark, sorted and unfolded. Skipped where there is no Chromium."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")

TRY = """
const press = (table, name) => {
  const button = [...table.querySelectorAll("thead button")].find((each) => each.innerText.startsWith(name));
  button.click();
  const at = button.closest("th").cellIndex;
  return [...table.tBodies[0].rows].map((row) => row.cells[at].innerText);
};
const parts = () => [...document.querySelectorAll("details:not(.scenario)")].map((part) => part.open);
addEventListener("load", () => {
  const table = document.querySelector("h2 ~ .wide table");
  const seen = { width: innerWidth, folded: parts(), accuracy: press(table, "test accuracy") };
  seen.down = press(table, "test accuracy");
  seen.against = press(table, "against");
  seen.policies = press(table, "policy");
  dispatchEvent(new Event("beforeprint"));
  seen.unfolded = parts();
  seen.widest = document.documentElement.scrollWidth;
  seen.loose = document.querySelectorAll("table:not(.wide table), img:not(.wide img)").length;
  seen.pictures = [...document.images].map((image) => image.naturalWidth);
  dispatchEvent(new Event("afterprint"));
  seen.again = parts();
  seen.ground = getComputedStyle(document.body).backgroundColor;
  seen.ink = getComputedStyle(document.body).color;
  seen.filter = getComputedStyle(document.images[0]).filter;
  parent.document.documentElement.dataset.seen = JSON.stringify(seen);
});
"""

FRAME = '<meta name="color-scheme" content="light dark"><iframe srcdoc="{}" style="width: 390px; border: 0"></iframe>'
"""A window cannot be as narrow as a phone."""


@pytest.mark.skipif(not BROWSER, reason="no Chromium")
def test_on_a_phone_in_the_dark_nothing_is_lost_and_tables_can_be_sorted(compared: Path, tmp_path: Path) -> None:
    page = (compared / "report.html").read_text().replace("</body>", f"<script>{TRY}</script></body>")
    (tmp_path / "report.html").write_text(FRAME.format(html.escape(page)))
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--force-dark-mode", f"--user-data-dir={tmp_path}/own"]
    arguments += ["--virtual-time-budget=5000", "--dump-dom"]
    shown = subprocess.run(
        [BROWSER, *arguments, (tmp_path / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'data-seen="([^"]*)"', shown.stdout)
    assert found is not None
    seen = json.loads(html.unescape(found[1]))
    assert seen["widest"] <= seen["width"] == 390
    assert seen["loose"] == 0
    assert len(seen["pictures"]) == len(list((compared / "figures").glob("*.csv")))
    assert min(seen["pictures"]) > 400
    scores = [float(text.split()[0]) for text in seen["accuracy"] if text != "-"]
    assert scores == sorted(scores)
    assert len(scores) == 3
    assert seen["accuracy"][-1] == seen["down"][-1] == "-"  # the policy that failed
    assert [float(text.split()[0]) for text in seen["down"][:-1]] == sorted(scores, reverse=True)
    assert seen["against"][-2:] == ["-", "-"]
    assert seen["policies"] == sorted(seen["policies"])
    assert seen["folded"] == seen["again"] == [True, False, False, False]  # a run failed: how runs ended is open
    assert seen["unfolded"] == [True] * 4
    assert _lightness(seen["ground"]) < 60 < 200 < _lightness(seen["ink"])
    assert "invert(1)" in seen["filter"]


def _lightness(colour: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.2 * red + 0.7 * green + 0.1 * blue
