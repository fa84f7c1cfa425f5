"""The report's page in a browser: it fits a phone, its script runs, its theme can be turned."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import pytest

from fixtures import reports
from fixtures.browser import opened
from fixtures.html_tree import parse
from kdtrain.report.page.page import render_page

# The page stands in a frame of the wished width, which a browser without a window would not be; the frame's document
# may be read because it is given as text. Its own policy stays in force in it.
HOST = """<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>
<iframe id="page" width="{width}" height="800" srcdoc="{page}"></iframe><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const inside = frame.contentDocument, view = frame.contentWindow;
  const found = (() => {{ {probe} }})();
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""


@pytest.fixture(scope="module")
def page() -> str:
    """A report like the paper's."""
    return render_page(reports.paper_report(seeds=2, epochs=30))


def probed(folder: Path, page: str, *, width: int, probe: str, dark: bool = False) -> tuple[Any, str]:
    """What a probe returns that runs beside the page in a browser, and what the browser complained of.

    Args:
        folder: For the host page and the browser's profile.
        page: The page's text.
        width: Of its window, in pixels.
        probe: JavaScript statements ending in a return, with ``inside`` (document) and ``view`` (window).
        dark: Whether the reader's system is dark.
    """
    host = folder / "host.html"
    host.write_text(HOST.format(width=width, page=escape(page), probe=probe), encoding="utf-8")
    document, messages = opened(
        host.as_uri(),
        folder / "profile",
        "--enable-logging=stderr",
        "--window-size=1500,1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
    )
    found = parse(document.replace("<!DOCTYPE html>", "")).by_id("found").text
    complaints = [line for line in messages.splitlines() if "CONSOLE" in line]
    return json.loads(found), "\n".join(complaints)


def test_nothing_is_wider_than_a_phone(tmp_path: Path, page: str) -> None:
    """At 390 pixels the page itself never scrolls sideways, and every wide table scrolls in its own box."""
    probe = """
      for (const folded of inside.querySelectorAll("details")) folded.open = true;
      const box = inside.querySelector("#all-methods .scroll");
      const boxes = [...inside.querySelectorAll("figure")].filter((f) => f.getBoundingClientRect().right > 390);
      const scale = (svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      const letters = [...inside.querySelectorAll("svg")].filter((svg) => scale(svg) > 0)
        .map((svg) => scale(svg) * parseFloat(svg.getAttribute("font-size")));
      return { page: inside.documentElement.scrollWidth, table: [box.clientWidth, box.scrollWidth],
               figures: boxes.map((f) => f.id), letters: Math.min(...letters), drawings: letters.length };
    """
    found, complaints = probed(tmp_path, page, width=390, probe=probe)
    assert found["page"] <= 390
    assert found["table"][0] <= 390 - 32 < found["table"][1]
    assert found["figures"] == []
    assert found["letters"] >= 11
    assert found["drawings"] > 30
    assert complaints == ""


def test_theme_follows_the_system_and_can_be_turned(tmp_path: Path, page: str) -> None:
    """The page is light on a light system and dark on a dark one; the box turns either, in figures as well."""
    probe = """
      const colours = () => [view.getComputedStyle(inside.body).backgroundColor,
                             view.getComputedStyle(inside.querySelector("svg rect")).fill];
      const first = colours();
      inside.getElementById("theme").click();
      return [first, colours()];
    """
    light, dark = ["rgb(255, 255, 255)"] * 2, ["rgb(20, 23, 26)"] * 2
    (tmp_path / "light").mkdir()
    (tmp_path / "dark").mkdir()
    assert probed(tmp_path / "light", page, width=1200, probe=probe) == ([light, dark], "")
    assert probed(tmp_path / "dark", page, width=1200, probe=probe, dark=True) == ([dark, light], "")


def test_script_runs_under_the_policy(tmp_path: Path, page: str) -> None:
    """The section in view is marked in the contents, so the script's hash is right; nothing is refused on the way."""
    probe = 'return [...inside.querySelectorAll("nav a[aria-current]")].map((a) => a.textContent);'
    assert probed(tmp_path, page, width=1200, probe=probe) == (["Result"], "")
