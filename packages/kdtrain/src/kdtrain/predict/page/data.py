"""What the page's script reads: boxes, tiles, maps and colours as one JSON object.

Frames: boxes of regions in level-0 pixels; centres of a map's cells in pixels of the image that the network saw. Bytes
are base64. A map's values are 256 steps from its lowest to its highest, so a number read off the page is right to
1/510 of the map's range.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdtrain.predict.explain.colours import FULL_AT, Scale
from kdtrain.predict.explain.heat_map import HeatMap
from kdtrain.predict.explain.picture import MEANINGS, METHOD_NAMES
from kdtrain.predict.page.tiles import OVERLAP_PX, TILE_PX, Level, Pyramid, RegionView, SlidePage
from kdtrain.predict.page.words import percent

OWN_CLASS = -1
"""Stands for each region's own predicted class, where a map is chosen."""

Colours = Callable[[NDArray[np.float64]], NDArray[np.uint8]]
"""Positions (N,) from 0 to 1 to (N, 3) uint8 RGB."""

_COLOURS = 256

Json = dict[str, Any]


def page_data(
    page: SlidePage, pyramids: Sequence[Pyramid], colours: Colours, signed_colours: Colours
) -> Json:
    """What the script reads.

    Args:
        page: The page.
        pyramids: Pyramids of the regions' images, in the order of the regions.
        colours: Colours of maps that are nowhere negative.
        signed_colours: Colours of the others.

    Raises:
        ValueError: A map holds values that are not finite.
    """
    slide = page.prediction
    return {
        "slide": {"width": slide.width, "height": slide.height, "mpp": slide.mpp},
        "magnification": _magnification(page),
        "classes": list(slide.classes),
        "overview": _text(page.overview),
        "tilePx": TILE_PX,
        "overlapPx": OVERLAP_PX,
        "regions": [
            _region(view, pyramid, slide.classes)
            for view, pyramid in zip(page.regions, pyramids, strict=True)
        ],
        "scales": scales(page),
        "firstChoice": first_choice(page),
        "methods": METHOD_NAMES,
        "meanings": MEANINGS,
        "ownClass": OWN_CLASS,
        "colours": {
            "sequential": _table(colours),
            "diverging": _table(signed_colours),
            "fullAt": FULL_AT,
        },
    }


def as_script(data: Json) -> str:
    """JSON that may stand in an HTML script element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # A name may hold "</script>" or "<!--"; in JSON, "<" occurs in strings alone.
    return text.replace("<", "\\u003c").replace("&", "\\u0026").replace(">", "\\u003e")


def scales(page: SlidePage) -> list[Json]:
    """For each method and class the scale that its maps share, so that colours compare across regions."""
    found: dict[tuple[str, int], list[HeatMap]] = {}
    for heat_map in (heat_map for view in page.regions for heat_map in view.maps):
        found.setdefault((heat_map.method, heat_map.class_index), []).append(heat_map)
    shared = {key: Scale.of(maps) for key, maps in sorted(found.items())}
    return [
        # Maps of nothing but zeros have a scale all the same.
        {"method": method, "classIndex": class_index, "top": scale.most or 1.0, "signed": scale.signed}
        for (method, class_index), scale in shared.items()
    ]


def first_choice(page: SlidePage) -> Json:
    """The map to begin with: occlusion before Grad-CAM, of the slide's class where there is one."""
    there = {(each.method, each.class_index) for view in page.regions for each in view.maps}
    method = next((name for name in METHOD_NAMES if name in {method for method, _ in there}), None)
    classes = sorted(class_index for name, class_index in there if name == method)
    wanted = page.prediction.predicted
    return {"method": method, "classIndex": wanted if wanted in classes or not classes else classes[0]}


def _magnification(page: SlidePage) -> float | None:
    """Magnification of level 0, as it follows from the network's and from the size of the image that it saw."""
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
    if not np.isfinite(values).all():
        raise ValueError(
            f"a heat map ({heat_map.method}, class {heat_map.class_index}) holds values that are no finite numbers: "
            "a page cannot colour them; look for a fault in the network's weights"
        )
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


def _table(colours: Colours) -> str:
    return _text(np.asarray(colours(np.linspace(0, 1, _COLOURS)), dtype=np.uint8).tobytes())


def _text(content: bytes) -> str:
    return b64encode(content).decode("ascii")
