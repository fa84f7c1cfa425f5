"""What the page's script reads: boxes, tiles, maps and colours as one JSON object.

Frames: boxes of regions in level-0 pixels; centres of a map's cells in pixels of the image that the network saw. Bytes
are base64. A map's values are 256 steps from its lowest to its highest, so a number read off the page is right to
1/510 of the map's range.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np

from kdtrain.explain.heat_map import HeatMap
from kdtrain.explain.page.model import RegionView, SlidePage
from kdtrain.explain.page.scales import Colours, table
from kdtrain.explain.page.tiles import TILE_PX, Level, Pyramid
from kdtrain.explain.page.words import percent

OWN_CLASS = -1
"""Stands for each region's own predicted class, where a map is chosen."""

Json = dict[str, Any]


def page_data(
    page: SlidePage, pyramids: Sequence[Pyramid], colours: Colours, signed_colours: Colours
) -> Json:
    """What the script reads.

    Args:
        page: The page.
        pyramids: Of the regions' images, in the order of the regions.
        colours: Of maps that are nowhere negative.
        signed_colours: Of the others.
    """
    slide = page.prediction
    return {
        "slide": {"width": slide.width, "height": slide.height, "mpp": slide.mpp},
        "magnification": _magnification(page),
        "classes": list(slide.classes),
        "overview": _text(page.overview),
        "tilePx": TILE_PX,
        "regions": [
            _region(view, pyramid, slide.classes)
            for view, pyramid in zip(page.regions, pyramids, strict=True)
        ],
        "scales": scales(page),
        "firstChoice": first_choice(page),
        "colours": {
            "sequential": _text(table(colours).tobytes()),
            "diverging": _text(table(signed_colours).tobytes()),
        },
    }


def as_script(data: Json) -> str:
    """JSON that may stand in an HTML script element.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # A name may hold "</script>" or "<!--"; in JSON, "<" occurs in strings alone.
    return text.replace("<", "\\u003c").replace("&", "\\u0026").replace(">", "\\u003e")


def scales(page: SlidePage) -> list[Json]:
    """For each method and class the largest distance from 0 on the slide, so that colours compare across regions."""
    found: dict[tuple[str, int], list[HeatMap]] = {}
    for heat_map in (heat_map for view in page.regions for heat_map in view.maps):
        found.setdefault((heat_map.method, heat_map.class_index), []).append(heat_map)
    return [
        {
            "method": method,
            "classIndex": class_index,
            # A map of nothing but zeros has a scale all the same.
            "top": max(float(np.abs(each.values).max()) for each in maps) or 1.0,
            "signed": any(bool((each.values < 0).any()) for each in maps),
        }
        for (method, class_index), maps in sorted(found.items())
    ]


def first_choice(page: SlidePage) -> Json:
    """The map to begin with: Grad-CAM before occlusion, of the slide's class where there is one."""
    there = sorted({(each.method, each.class_index) for view in page.regions for each in view.maps})
    method = there[0][0] if there else None
    classes = [class_index for name, class_index in there if name == method]
    wanted = page.prediction.predicted
    return {"method": method, "classIndex": wanted if wanted in classes or not classes else classes[0]}


def _magnification(page: SlidePage) -> float | None:
    """Of level 0, as the network's magnification and the size of what it saw have it."""
    slide = page.prediction
    if not slide.regions:
        return slide.objective
    return slide.magnification * slide.regions[0].width / slide.regions[0].image_width


def _region(view: RegionView, pyramid: Pyramid, classes: Sequence[str]) -> Json:
    said = view.prediction
    return {
        "number": said.index,
        "box": [said.x, said.y, said.width, said.height],
        "image": [said.image_width, said.image_height],
        "predicted": said.predicted,
        "said": f"{classes[said.predicted]} {percent(said.probabilities[said.predicted])}",
        "display": [pyramid.width, pyramid.height],
        "levels": [_level(level) for level in pyramid.levels],
        "maps": [_map(heat_map) for heat_map in view.maps],
    }


def _level(level: Level) -> Json:
    return {
        "reduction": level.reduction,
        "columns": level.columns,
        "tiles": [_text(tile) for tile in level.tiles],
    }


def _map(heat_map: HeatMap) -> Json:
    values = heat_map.values.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
    rows, columns = values.shape
    return {
        "method": heat_map.method,
        "classIndex": heat_map.class_index,
        "rows": rows,
        "columns": columns,
        "first": [heat_map.first_x, heat_map.first_y],
        "step": [heat_map.step_x, heat_map.step_y],
        "low": low,
        "high": high,
        "values": _text(steps.tobytes()),
    }


def _text(content: bytes) -> str:
    return b64encode(content).decode("ascii")
