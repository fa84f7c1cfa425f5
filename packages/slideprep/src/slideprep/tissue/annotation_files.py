"""Annotation files -> regions, and regions -> GeoJSON that QuPath opens.

Reads QuPath's GeoJSON and Aperio ImageScope's XML; both keep polygons in level-0 pixels, (x, y) from the top
left. Files come from outside, so every number is checked and nothing in them is executed. Polygons become
regions; points, lines and detections (cells, tiles) are no regions and are counted in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slideprep.errors import InputError
from slideprep.text import file_name
from slideprep.tissue.annotations import ANNOTATION_SUFFIXES, AnnotatedRegion
from slideprep.tissue.geojson import regions_from_geojson
from slideprep.tissue.imagescope import regions_from_xml
from slideprep.units import Box

MAX_FILE_BYTES = 512 * 1024**2
"""Larger files hold detections, not regions drawn by a person, and take many times their size in memory."""

PALETTE = (
    (200, 0, 0),
    (0, 110, 200),
    (0, 140, 60),
    (220, 130, 0),
    (130, 60, 180),
    (0, 150, 150),
    (160, 90, 40),
)
"""RGB colours of classes in exported files, in sorted order of the class names, then from the start again."""


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What a file holds.

    Attributes:
        regions: Its polygons, in the order of the file.
        notes: What was left out and why, one line each.
    """

    regions: tuple[AnnotatedRegion, ...]
    notes: tuple[str, ...]


def read_annotations(path: Path) -> Annotations:
    """Read a slide's annotations.

    Args:
        path: A ``.geojson`` or ``.json`` file as QuPath exports it, or a ``.xml`` file of Aperio ImageScope.

    Raises:
        InputError: The file cannot be read, is broken, or breaks a rule of its format; the message names the
        file,
            the place in it and the rule.
    """
    suffix = path.suffix.lower()
    if suffix not in ANNOTATION_SUFFIXES:
        raise InputError(
            f"{path.name} is no annotation file: its suffix is '{path.suffix}', known are "
            f"{', '.join(ANNOTATION_SUFFIXES)}; export GeoJSON from QuPath or XML from ImageScope"
        )
    data = _bytes(path)
    read = regions_from_xml if suffix == ".xml" else regions_from_geojson
    regions, notes = read(data, file_name(path.name))
    return Annotations(regions=tuple(regions), notes=tuple(notes))


def _bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(
                f"{path.name} has {size} bytes and annotation files may have {MAX_FILE_BYTES}; export "
                "annotations without detections"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror or error}; check the file") from error
    if not data.strip():
        raise InputError(f"{path.name} is empty; export the annotations again or remove the file")
    return data


def regions_geojson(
    regions: Sequence[tuple[Box, str | None, str | None]],
    *,
    colours: Mapping[str, tuple[int, int, int]] | None = None,
) -> dict[str, Any]:
    """Regions as a GeoJSON FeatureCollection for QuPath (0.4 and later) and :func:`read_annotations`.

    Args:
        regions: (box in level-0 pixels, class name or None, region name or None) each.
        colours: RGB, 0 to 255, of classes; classes without one take theirs from :data:`PALETTE`.

    Returns:
        A dictionary for ``json.dump``. Reading it back gives the same boxes, classes and names.
    """
    classes = sorted({class_name for _, class_name, _ in regions if class_name is not None})
    table = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(classes)} | dict(colours or {})
    return {"type": "FeatureCollection", "features": [_feature(*region, table) for region in regions]}


def _feature(
    box: Box, class_name: str | None, name: str | None, colours: Mapping[str, tuple[int, int, int]]
) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation"}
    if name is not None:
        properties["name"] = name
    if class_name is not None:
        properties["classification"] = {"name": class_name, "color": list(colours[class_name])}
    left, top, right, bottom = box.x, box.y, box.right, box.bottom
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }
