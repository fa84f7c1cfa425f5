"""What axe-core finds on pages, as readers meet them: light and dark, wide and narrow, folded and unfolded.

    python benchmarks/axe.py PAGE... --axe PYTHON [--save FOLDER] [--json]

PAGE are HTML files or addresses: preview.html of a shard set, page.html of ``kdtrain predict --explain``, report.html,
pages of the site. PYTHON has ``axe-playwright-python`` installed, in an environment of its own; of that only the file
axe.min.js is used (axe-core, Deque Systems, MPL 2.0; a path to another copy will do). Chromium shows each page

- light and dark, in windows of 1200 and of 390 px (a phone's, touched), without motion;
- as it opens, with all that folds unfolded, and with its dialog open, where it has them.

All of axe-core's rules are asked, experimental and best practice included, but those of WCAG's level AAA and those
that axe-core itself calls deprecated. Prints each rule that a page breaks with the number of places, and an example;
exits 1 if there is any. What axe-core leaves to a person ("incomplete", such as text over an image) is counted apart
and does not count as broken. ``--save`` keeps a picture of every state.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from _common import markdown_table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
try:
    from fixtures.devtools import Browser, browser
finally:
    sys.path.pop(0)

SCHEMES = ("light", "dark")
WINDOWS = ((1200, 900), (390, 844))
STATES = {
    "as it opens": "true",
    "unfolded": "[...document.querySelectorAll('details:not([open])')].map((d) => { d.open = true; }).length > 0",
    "dialog": """(() => {
      const dialog = document.querySelector("dialog");
      document.querySelector(".card:has(table) .frame, #help")?.click();
      return Boolean(dialog?.open);
    })()""",
}
"""Name to a script that brings the page there, one after the other; false where the page has no such state."""

PACKAGE, FILE = "axe_playwright_python", "axe.min.js"
_SKIPPED = ("wcag2aaa", "deprecated")
_RUN = f"""axe.run(document, {{
  runOnly: axe.getRules().filter((rule) => !{json.dumps(_SKIPPED)}.some((tag) => rule.tags.includes(tag)))
    .map((rule) => rule.ruleId),
  resultTypes: ["violations", "incomplete"],
}}).then((found) => Object.fromEntries(["violations", "incomplete"].map((kind) => [kind, found[kind].map((rule) => ({{
  rule: rule.id, places: rule.nodes.length, impact: rule.impact, help: rule.help,
  example: rule.nodes[0].target.join(" "), why: rule.nodes[0].failureSummary,
}}))])))"""
_STILL = (
    "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 150))"
)


@dataclass
class Found:
    """What was found on one page.

    Attributes:
        states: In how many it was looked at.
        violations: Broken rules: name to (places at most in a state, states, an example).
        incomplete: Rules that a person has to decide, likewise.
    """

    states: int = 0
    violations: dict[str, dict[str, Any]] = field(default_factory=dict)
    incomplete: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, state: str, said: dict[str, list[dict[str, Any]]]) -> None:
        """Add what axe-core says of a state of the page."""
        self.states += 1
        for kind, rules in (("violations", self.violations), ("incomplete", self.incomplete)):
            for rule in said[kind]:
                kept = rules.setdefault(rule["rule"], {**rule, "states": []})
                kept["states"].append(state)
                if rule["places"] > kept["places"]:
                    kept.update({name: rule[name] for name in ("places", "example", "why")})


def main() -> int:
    """Parse the command line, look, print."""
    options = _parser().parse_args()
    source = axe_file(options.axe).read_text(encoding="utf-8")
    addresses = [page if "://" in page else Path(page).resolve().as_uri() for page in options.pages]
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        found = {
            page: looked_at(tab, address, source, options.save, f"{number:02d}")
            for number, (page, address) in enumerate(zip(options.pages, addresses, strict=True))
        }
    version = source[: source.index("\n")].strip("/*! ")
    if options.json:
        print(
            json.dumps({"axe": version, "pages": {page: vars(one) for page, one in found.items()}}, indent=1)
        )
    else:
        print(report(found, version))
    return int(any(one.violations for one in found.values()))


def looked_at(tab: Browser, address: str, source: str, save: Path | None, name: str) -> Found:
    """All states of a page."""
    found = Found()
    # A page that remembers which theme was shown would show it again.
    tab.call("Page.addScriptToEvaluateOnNewDocument", source="try { localStorage.clear(); } catch {}")
    for scheme, (width, height) in product(SCHEMES, WINDOWS):
        tab.open(
            address,
            width=width,
            height=height,
            prefers_color_scheme=scheme,
            prefers_reduced_motion="reduce",
        )
        tab.ask(source + "; true")
        for state in _states(tab):
            seen = f"{scheme}, {width} px, {state}"
            found.add(seen, tab.ask(_RUN))
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                (save / f"{name}-{seen.replace(', ', '-').replace(' ', '-')}.png").write_bytes(
                    tab.screenshot()
                )
    return found


def _states(tab: Browser) -> Iterator[str]:
    for state, script in STATES.items():
        if tab.ask(script):
            tab.ask(_STILL)
            yield state


def axe_file(given: Path) -> Path:
    """axe.min.js: the file itself, or that of the package in a Python's environment; nothing of it is imported."""
    if given.suffix == ".js":
        return given
    look = f"import importlib.util as u; print(u.find_spec('{PACKAGE}').submodule_search_locations[0])"
    done = subprocess.run([given, "-c", look], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"--axe {given}: this Python has no {PACKAGE}; install axe-playwright-python into its environment"
        )
    return Path(done.stdout.strip()) / FILE


def report(found: dict[str, Found], version: str) -> str:
    """Markdown."""
    lines = [f"{version}, {len(SCHEMES) * len(WINDOWS)} windows a page.", ""]
    rows = []
    for page, one in found.items():
        left = Counter({rule: kept["places"] for rule, kept in one.incomplete.items()})
        said = ", ".join(f"{count} x {rule}" for rule, count in left.most_common())
        broken = ", ".join(f"{kept['places']} x {rule}" for rule, kept in one.violations.items())
        rows.append([page, str(one.states), broken or "none", said or "none"])
    lines.append(markdown_table(["page", "states", "broken rules", "left to a person"], rows))
    for page, one in found.items():
        for rule, kept in one.violations.items():
            lines += [
                "",
                f"{page}: {rule} ({kept['impact']}): {kept['help']}",
                f"  in: {'; '.join(kept['states'])}",
            ]
            lines += [f"  at: {kept['example']}", f"  {' '.join(kept['why'].split())}"]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+", metavar="PAGE")
    parser.add_argument("--axe", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep a picture of every state here")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
