"""The README.md of a folder for WSInfer: how to run it, what it is shown, and what that costs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from kdtrain.bundle.card import plain
from kdtrain.bundle.source import Source
from kdtrain.bundle.tile_cost import TileCost
from kdtrain.bundle.wsinfer import Tiling

PIXELS = (
    "On one real and three synthetic slides, of 56 tiles at 2.5x, that moved pixels by 4 to 6 grey levels on average "
    "(by 7 to 8 from the pyramids of the synthetic ones), and a student's probabilities by up to 0.43: 51 tiles kept "
    "their class. From the same pixels the answers are the same, to 0.00000003. `benchmarks/wsinfer.py` of kdtrain "
    "measures it for any such folder and slides."
)
"""Measured by that benchmark, of a student of synthetic slides, not of the network that the card is of."""


def wsinfer_card(
    source: Source,
    tiling: Tiling,
    cost: TileCost | None,
    *,
    name: str,
    license_id: str | None,
    notes: str | None,
) -> str:
    """The content of README.md; the same for the same arguments.

    Args:
        source: The run.
        tiling: The tiles that the network is shown.
        cost: What they cost; None where it was not measured.
        name: What the folder is called.
        license_id: SPDX identifier; None to state none.
        notes: Markdown of the authors; None for none.
    """
    # Nothing is escaped as HTML: the card is Markdown, and names go through ``plain``.
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(plain=plain)
    template = files("kdtrain.bundle").joinpath("assets", "wsinfer.md").read_text(encoding="utf-8")
    body = environment.from_string(template).render(
        name=name,
        network=source.trained.network,
        synthetic=source.index.document.synthetic,
        weights=source.trained.sha256,
        calibration=source.calibration,
        tiling=tiling,
        side_um=tiling.patch_px * tiling.spacing_um,
        cost=cost,
        lines=list(cost_lines(cost)),
        license=license_id,
        notes=None if notes is None else notes.strip(),
        pixels=PIXELS,
    )
    return body.rstrip() + "\n"


def cost_lines(cost: TileCost | None) -> Iterator[str]:
    """What tiles cost, in sentences without a full stop, for the card and for the screen."""
    if cost is None:
        yield "what square tiles cost was not measured: the run was exported without an evaluation on labelled images"
        return
    yield (
        f"{cost.images:,} images of the {cost.split} split, cut into {cost.tiles:,} tiles: {cost.same_class:.1%} keep "
        f"their class, and its probability changes by {100 * cost.mean_change:.1f} points on average, by "
        f"{100 * cost.largest_change:.1f} at most"
    )
    for level, found in cost.levels.items():
        yield (
            f"balanced accuracy by {level} (n = {found['n']:,}): {_percent(found['whole'])} whole, "
            f"{_percent(found['tiles'])} by tiles{_difference(found)}"
        )


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def _difference(found: dict[str, Any]) -> str:
    if found["low"] is None or found["high"] is None:
        return ", too few patients for an interval"
    return (
        f", {100 * found['difference']:+.1f} points (95 % interval {100 * found['low']:+.1f} to "
        f"{100 * found['high']:+.1f})"
    )
