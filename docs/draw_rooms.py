"""Draw the rooms of both packages and their arrows: .importlinter and the code in, docs/rooms.svg out.

    python docs/draw_rooms.py

The rows are the layers of .importlinter, so the picture and the rule that ``nox -s lint`` checks cannot differ. An
arrow goes from a room to one that it imports. One that a longer way along other arrows implies is left out: of some 140
arrows a third remains, and whatever can be reached downwards may be imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from configparser import ConfigParser
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / ".importlinter"
PICTURE = ROOT / "docs" / "rooms.svg"
PACKAGES = ("slideprep", "kdtrain")

BOX_W, BOX_H = 80, 30
ROW_H = 62
PANEL_W = 640
TOP = 58

STYLE = """
  .t { font: 600 16px system-ui, sans-serif; fill: #1b1f24 }
  .r { font: 13px system-ui, sans-serif; fill: #1b1f24; text-anchor: middle }
  .b { fill: #eef4fa; stroke: #57606a }
  .a { fill: none; stroke: #7d8590; stroke-width: 1.2; marker-end: url(#m) }
  .m { fill: #7d8590 }
  @media (prefers-color-scheme: dark) {
    .t, .r { fill: #e6edf3 } .b { fill: #1c2733; stroke: #9aa4af } .a { stroke: #848d97 } .m { fill: #848d97 }
  }
"""

Rooms = Mapping[str, frozenset[str]]
"""The rooms that each room imports."""


def layers(package: str) -> list[list[str]]:
    """The rows of a package's rooms, the highest first, as the rule file has them."""
    rules = ConfigParser()
    rules.read(RULES)
    rows = rules[f"importlinter:contract:{package}"]["layers"].split("\n")
    return [[room.strip() for room in row.split("|")] for row in rows if row.strip()]


def imports(package: str) -> Rooms:
    """Which room imports which, from the code: imports in functions count, those for types alone do not."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    found: dict[str, set[str]] = {}
    for module in sorted(graph.modules):
        for other in graph.find_modules_directly_imported_by(module):
            a, b = module.split("."), other.split(".")
            if a[0] == b[0] == package and len(a) > 1 < len(b) and a[1] != b[1]:
                found.setdefault(a[1], set()).add(b[1])
    return {room: frozenset(others) for room, others in found.items()}


def reduced(rooms: Rooms) -> Rooms:
    """The arrows that no longer way implies; there are no circles."""

    def reached(starts: Iterable[str]) -> set[str]:
        seen: set[str] = set()
        waiting = list(starts)
        while waiting:
            room = waiting.pop()
            if room not in seen:
                seen.add(room)
                waiting += rooms.get(room, ())
        return seen

    return {a: frozenset(b for b in bs if b not in reached(bs - {b})) for a, bs in rooms.items()}


def places(rows: Sequence[Sequence[str]], left: float) -> dict[str, tuple[float, int]]:
    """Where every room's box is: its centre along x, in pixels of the picture, and its row."""
    return {
        room: (left + PANEL_W * share, number)
        for number, row in enumerate(rows)
        for room, share in zip(row, _shares(len(row)), strict=True)
    }


def _shares(count: int) -> list[float]:
    # Two boxes leave the middle to the arrows of the rooms above them.
    return [1 / 6, 5 / 6] if count == 2 else [(number + 0.5) / count for number in range(count)]


def arrow(start: tuple[float, int], end: tuple[float, int]) -> str:
    """A path from a box to one below it: a curve to the next row; farther down along the gap first, then straight."""
    (x0, row0), (x1, row1) = start, end
    bottom, top = TOP + ROW_H * row0 + BOX_H, TOP + ROW_H * row1 - 2
    if row1 == row0 + 1 or x0 == x1:
        bend = (top - bottom) / 2
        return f"M{x0:g} {bottom:g}C{x0:g} {bottom + bend:g} {x1:g} {top - bend:g} {x1:g} {top:g}"
    way, gap = (1 if x1 > x0 else -1), bottom + (ROW_H - BOX_H) / 3
    return f"M{x0:g} {bottom:g}V{gap:g}H{x1 - way * 10:g}Q{x1:g} {gap:g} {x1:g} {gap + 10:g}V{top:g}"


def panel(package: str, left: float) -> list[str]:
    """One package: its title, its arrows, its boxes over them."""
    place = places(layers(package), left)
    arrows = [
        f'<path class="a" d="{arrow(place[room], place[other])}"/>'
        for room, others in sorted(reduced(imports(package)).items())
        for other in sorted(others)
    ]
    boxes = [
        f'<rect class="b" x="{x - BOX_W / 2:g}" y="{TOP + ROW_H * row}" width="{BOX_W}" height="{BOX_H}" rx="5"/>'
        f'<text class="r" x="{x:g}" y="{TOP + ROW_H * row + BOX_H / 2 + 4.5:g}">{escape(room)}</text>'
        for room, (x, row) in place.items()
    ]
    return [f'<text class="t" x="{left + 10:g}" y="30">{package}</text>', *arrows, *boxes]


def picture() -> str:
    """The SVG."""
    height = TOP + ROW_H * max(len(layers(package)) for package in PACKAGES)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * PANEL_W} {height}" role="img" '
        'aria-labelledby="title">',
        '<title id="title">The rooms of slideprep and kdtrain: each imports only rooms below it</title>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="m" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="m" d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for number, package in enumerate(PACKAGES):
        lines += panel(package, number * PANEL_W)
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
