"""Draw what five demos reached: the balanced accuracies of docs/demo.md in, docs/result.svg out.

    python docs/draw_result.py

A row is a seed, an experiment with slides and patients of its own; the marks are what its networks reached on the test
split, and a line joins the student with the paper's baseline, whose images and price are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "demo.md"
PICTURE = ROOT / "docs" / "result.svg"

COLUMNS = ("Teacher, 10x", "KD, 2.5x", "Baseline, 2.5x", "Baseline s32, 2.5x")
"""Of the table, in the order of the legend below."""
LEGEND = ("teacher, 10x", "student, 2.5x", "baseline of the student's shape", "baseline as in the paper")

LEFT, RIGHT = 90.0, 960.0
TOP, ROW_H = 98.0, 30.0
LOWEST, HIGHEST = 30, 100
CHANCE = 100 / 3
TITLE = "Balanced accuracy on test patients of five synthetic sets, %"

STYLE = """
  .t { font: 600 16px system-ui, sans-serif; fill: #1b1f24 }
  .s { font: 13px system-ui, sans-serif; fill: #57606a }
  .e { text-anchor: end } .m { text-anchor: middle }
  .r { stroke: #d0d7de; stroke-width: 1 } .c { stroke: #57606a; stroke-width: 1; stroke-dasharray: 4 4 }
  .g { stroke: #0969a8; stroke-width: 5; stroke-opacity: .25 }
  .m0 { fill: #5b3b8c } .m1 { fill: #0969a8 } .m2 { fill: #8c959f } .m3 { fill: none; stroke: #57606a; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .t { fill: #e6edf3 } .s { fill: #9aa4af } .r { stroke: #30363d } .c { stroke: #9aa4af }
    .g { stroke: #58a6ff } .m0 { fill: #b392f0 } .m1 { fill: #58a6ff } .m2 { fill: #6e7681 } .m3 { stroke: #9aa4af }
  }
"""

Row = Sequence[float]
"""Values of one seed in the order of COLUMNS, %."""


def balanced_accuracies(page: str) -> Mapping[str, Row]:
    """Rows by seed, from the part of the page's table that begins with balanced accuracy."""
    header = next(line for line in page.splitlines() if line.startswith("| seed |"))
    names = _cells(header)
    part = page.split("| **balanced accuracy** |", 1)[1].split("| **", 1)[0]
    rows = (_cells(line) for line in part.splitlines() if re.match(r"\| \d+ \|", line))
    return {row[0]: [float(row[names.index(name)].split()[0]) for name in COLUMNS] for row in rows}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _x(percent: float) -> float:
    return LEFT + (RIGHT - LEFT) * (percent - LOWEST) / (HIGHEST - LOWEST)


def _mark(kind: int, x: float, y: float) -> str:
    """A diamond, a disc, a square or a ring: told without colour too."""
    if kind == 0:
        return f'<path class="m0" d="M{x:.1f} {y - 8:.1f}l8 8-8 8-8-8z"/>'
    if kind == 2:
        return f'<path class="m2" d="M{x - 5:.1f} {y - 5:.1f}h10v10h-10z"/>'
    return f'<circle class="m{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{7 if kind == 1 else 6}"/>'


def _legend() -> list[str]:
    drawn, x = [], 28.0
    for kind, words in enumerate(LEGEND):
        drawn += [_mark(kind, x, 53), f'<text class="s" x="{x + 14:.0f}" y="57">{escape(words)}</text>']
        x += 40 + 7.0 * len(words)
    return drawn


def _axis(bottom: float) -> list[str]:
    drawn = []
    for percent in range(LOWEST, HIGHEST + 1, 10):
        x = _x(percent)
        drawn.append(f'<path class="r" d="M{x:.1f} {TOP - 18:.0f}V{bottom:.0f}"/>')
        drawn.append(f'<text class="s m" x="{x:.1f}" y="{bottom + 18:.0f}">{percent}</text>')
    x = _x(CHANCE)
    drawn.append(f'<path class="c" d="M{x:.1f} {TOP - 18:.0f}V{bottom:.0f}"/>')
    drawn.append(f'<text class="s" x="{x + 5:.1f}" y="{bottom - 4:.0f}">chance</text>')
    return drawn


def _rows(rows: Mapping[str, Row]) -> list[str]:
    drawn = []
    for number, (seed, values) in enumerate(rows.items()):
        y = TOP + ROW_H * number
        drawn.append(f'<text class="s e" x="{LEFT - 16:.0f}" y="{y + 4:.0f}">seed {escape(seed)}</text>')
        drawn.append(f'<path class="g" d="M{_x(values[3]):.1f} {y:.0f}H{_x(values[1]):.1f}"/>')
        drawn += [_mark(kind, _x(value), y) for kind, value in enumerate(values)]
    return drawn


def picture() -> str:
    """The SVG, for light and dark pages."""
    rows = balanced_accuracies(TABLE.read_text(encoding="utf-8"))
    paper, shape = (sum(row[1] - row[kind] for row in rows.values()) / len(rows) for kind in (3, 2))
    title = (
        f"A fourteenth of the teacher's cost: {paper:.0f} points above the paper's baseline, "
        f"{shape:.0f} above one of its own shape"
    )
    bottom = TOP + ROW_H * len(rows) - 6
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 {bottom + 44:.0f}" role="img"'
            ' aria-labelledby="title">',
            f'<title id="title">{escape(title)}</title>',
            f"<style>{STYLE}</style>",
            f'<text class="t" x="20" y="26">{escape(title)}</text>',
            *_legend(),
            *_axis(bottom),
            *_rows(rows),
            f'<text class="s m" x="{(LEFT + RIGHT) / 2:.0f}" y="{bottom + 37:.0f}">{escape(TITLE)}</text>',
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
