"""Regions and the cells of their heat maps as GeoJSON that QuPath (0.4 and later) opens.

Every region becomes a locked annotation with its predicted class and a measurement per class. Every cell of a map
becomes a detection, a rectangle with a measurement per method and class, so that QuPath's *Measure > Show measurement
maps* colours them. Coordinates are level-0 pixels; rings are closed and run clockwise on the screen, from the top left
corner. The keys are those of QuPath's own exporter (``objectType``, ``classification``, ``isLocked``, ``measurements``
as an object). No object has an id, so QuPath gives it one and a second import is never taken for the first. In names
of classes, which QuPath takes no line breaks in, control characters are spelled out.

Readers of annotations, slideprep's among them, leave detections out and find the regions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from kdtrain.files import open_atomically
from kdtrain.predict.explain.heat_map import ExplainedRegion, HeatMap
from kdtrain.predict.explain.overlay_parts import class_colour
from kdtrain.predict.explain.picture import METHOD_NAMES
from kdtrain.text import visible

_START = b'{"type":"FeatureCollection","features":[\n'
_END = b"\n]}\n"


def write_geojson(path: Path, regions: Sequence[ExplainedRegion], classes: Sequence[str]) -> None:
    """Write the file, one feature a line, without ever holding all of it.

    Args:
        path: Where.
        regions: Regions of one slide.
        classes: Names, in the order of the probabilities.
    """
    with open_atomically(path) as file:
        file.write(_START)
        for number, feature in enumerate(features(regions, classes)):
            line = json.dumps(feature, separators=(",", ":"), allow_nan=False)
            file.write((",\n" if number else "").encode() + line.encode())
        file.write(_END)


def features(regions: Sequence[ExplainedRegion], classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The features: all regions, then the cells of each.

    Args:
        regions: Regions of one slide.
        classes: Names, in the order of the probabilities.
    """
    names = [visible(name) for name in classes]
    for region in regions:
        yield _annotation(region, names)
    for region in regions:
        for _, maps in groupby(sorted(region.maps, key=_grid), key=_grid):
            yield from _detections(region, list(maps), names)


def _annotation(region: ExplainedRegion, classes: Sequence[str]) -> dict[str, Any]:
    p = region.prediction
    properties = {
        "objectType": "annotation",
        "name": f"region {p.index}",
        "classification": {"name": classes[p.predicted], "color": _rgb(p.predicted)},
        "isLocked": True,
        "measurements": {
            f"Probability: {name}": _rounded(value)
            for name, value in zip(classes, p.probabilities, strict=True)
        },
    }
    return _feature(_ring(p.x, p.y, p.x + p.width, p.y + p.height), properties)


def _grid(heat_map: HeatMap) -> tuple[float, ...]:
    """What maps have in common that share their cells."""
    m = heat_map
    return (*m.values.shape, m.step_x, m.step_y, m.first_x, m.first_y)


def _detections(
    region: ExplainedRegion, maps: Sequence[HeatMap], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The cells of maps on one grid."""
    p, (scale_x, scale_y) = region.prediction, region.level0_per_pixel
    names = [f"{METHOD_NAMES[m.method]}: {classes[m.class_index]}" for m in maps]
    rows, columns = maps[0].values.shape
    for row in range(rows):
        top, bottom = _span(maps[0].first_y, maps[0].step_y, row, rows, p.image_height)
        for column in range(columns):
            left, right = _span(maps[0].first_x, maps[0].step_x, column, columns, p.image_width)
            measurements = {
                name: _rounded(float(m.values[row, column])) for name, m in zip(names, maps, strict=True)
            }
            ring = _ring(
                p.x + left * scale_x, p.y + top * scale_y, p.x + right * scale_x, p.y + bottom * scale_y
            )
            yield _feature(ring, {"objectType": "detection", "measurements": measurements})


def _span(first: float, step: float, cell: int, cells: int, limit: int) -> tuple[float, float]:
    """Where a cell starts and ends in image pixels: halfway to its neighbours, the outer ones at the image's edges.

    Beyond the outer centres a map goes on as it is (:meth:`HeatMap.at`), so no part of the image is without a cell.
    """
    centre = first + cell * step
    start = centre - step / 2 if cell else 0.0
    return start, centre + step / 2 if cell < cells - 1 else float(limit)


def _feature(ring: list[list[float]], properties: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _ring(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return [[_coordinate(x), _coordinate(y)] for x, y in corners]


def _coordinate(value: float) -> float:
    """To a hundredth of a pixel; a whole number without its point."""
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _rounded(value: float) -> float:
    """To six digits: what float32 holds."""
    return float(f"{value:.6g}")


def _rgb(class_index: int) -> list[int]:
    colour = class_colour(class_index)
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
