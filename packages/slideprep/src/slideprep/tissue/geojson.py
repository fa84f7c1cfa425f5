"""QuPath's GeoJSON -> regions: a FeatureCollection, a list of features, or one feature. Level-0 pixels."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from slideprep.errors import InputError
from slideprep.text import count, readable, unbroken
from slideprep.tissue.annotations import AnnotatedRegion, Polygon, Ring, checked_number, checked_ring

_NO_REGIONS = {"detection", "cell", "tile", "PathDetectionObject", "PathCellObject", "PathTileObject"}
"""What QuPath's analyses make, by ``properties.objectType`` or, in old versions, by the feature's id."""


def regions_from_geojson(data: bytes, file_name: str) -> tuple[list[AnnotatedRegion], list[str]]:
    """Polygons and multipolygons of a GeoJSON file, and notes on what else it holds.

    Args:
        data: The file's bytes, UTF-8.
        file_name: For messages.

    Raises:
        InputError: Broken JSON, a structure that is not GeoJSON, coordinates that are not pixels, or a bad
        outline.
    """
    regions, skipped, ignored = [], Counter[tuple[str, str]](), Counter[str]()
    for number, feature in enumerate(_features(_parsed(data, file_name), file_name), start=1):
        where = f"{file_name}, feature {number}"
        geometry, properties = _parts(feature, where)
        kind = str(geometry.get("type"))
        object_type = str(properties.get("objectType", feature.get("id")))
        if object_type in _NO_REGIONS:
            skipped[f"{object_type} object", f"{object_type} objects"] += 1
        elif kind in ("Polygon", "MultiPolygon"):
            region = _region(geometry, properties, where)
            if is_ignored(region.class_name):
                ignored[region.class_name or ""] += 1
            else:
                regions.append(region)
        else:
            skipped[f"{readable(kind)} geometry", f"{readable(kind)} geometries"] += 1
    notes = [
        f"{file_name}: {count(number, *nouns)} left out, only polygons are regions"
        for nouns, number in skipped.items()
    ]
    notes += [
        f"{file_name}: {count(number, 'annotation')} of class '{name}' left out, as QuPath itself ignores classes "
        "whose name ends in *"
        for name, number in ignored.items()
    ]
    return regions, notes


def is_ignored(class_name: str | None) -> bool:
    """Whether QuPath takes a class for one to be ignored: its name, or a part of a derived one, ends in ``*``."""
    return class_name is not None and any(part.strip().endswith("*") for part in class_name.split(": "))


def _parsed(data: bytes, file_name: str) -> Any:
    def refuse(constant: str) -> None:
        raise InputError(
            f"{file_name}: coordinates must be finite numbers, and the file holds {constant}; export it again"
        )

    remedy = "export the annotations again as GeoJSON"
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise InputError(f"{file_name} is not UTF-8 text (byte {error.start}); {remedy}") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file_name} is broken JSON, line {error.lineno} column {error.colno}: {error.msg}; {remedy}"
        ) from error
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise InputError(f"{file_name} is not a usable GeoJSON file: {reason}; {remedy}") from error


def _features(document: Any, file_name: str) -> list[Any]:
    """The features of the three shapes in which QuPath writes them."""
    if isinstance(document, dict):
        if document.get("crs") is not None:
            raise InputError(
                f"{file_name} names a coordinate reference system ('crs'), so its coordinates are places on "
                "earth; level-0 pixels are needed: export it from QuPath"
            )
        if document.get("type") == "Feature":
            return [document]
        document = document.get("features") if document.get("type") == "FeatureCollection" else None
    if not isinstance(document, list):
        raise InputError(
            f"{file_name} is JSON but not GeoJSON: it must be a FeatureCollection or a list of features; "
            "export the annotations from QuPath as GeoJSON"
        )
    return document


def _parts(feature: Any, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A feature's geometry and properties, either empty where the feature has null."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise InputError(f"{where}: must be an object of type 'Feature'; export the annotations again")
    geometry, properties = feature.get("geometry") or {}, feature.get("properties") or {}
    if not isinstance(geometry, dict) or not isinstance(properties, dict):
        raise InputError(
            f"{where}: 'geometry' and 'properties' must be objects; export the annotations again"
        )
    return geometry, properties


def _region(geometry: dict[str, Any], properties: dict[str, Any], where: str) -> AnnotatedRegion:
    coordinates = geometry.get("coordinates")
    parts = _list(coordinates, "coordinates", where) if geometry["type"] == "MultiPolygon" else [coordinates]
    return AnnotatedRegion(
        class_name=_class_name(properties.get("classification")),
        name=_text(properties.get("name")),
        polygons=tuple(_polygon(part, where) for part in parts),
        where=where,
    )


def _class_name(classification: Any) -> str | None:
    """The class; QuPath joins the parts of a derived class ('Tumor', 'Positive') with a colon."""
    if isinstance(classification, dict):
        names = classification.get("names")
        if isinstance(names, list) and names:
            return _text(": ".join(str(name) for name in names))
        return _text(classification.get("name"))
    return _text(classification)


def _text(value: Any) -> str | None:
    return readable(unbroken(value.strip())) or None if isinstance(value, str) else None


def _polygon(rings: Any, where: str) -> Polygon:
    checked = [_ring(ring, where) for ring in _list(rings, "a polygon", where)]
    return Polygon(exterior=checked[0], holes=tuple(checked[1:]))


def _ring(ring: Any, where: str) -> Ring:
    corners = [_corner(corner, where) for corner in _list(ring, "a ring", where)]
    if corners[0] != corners[-1]:
        raise InputError(
            f"{where}: a ring must end where it starts, and this one goes from {corners[0]} to "
            f"{corners[-1]}; the file may be cut off: export it again"
        )
    return checked_ring(corners, where)


def _corner(corner: Any, where: str) -> tuple[float, float]:
    pair = _list(corner, "a corner", where)
    if len(pair) < 2:
        raise InputError(f"{where}: a corner must be [x, y] and one is {str(corner)[:40]}; export it again")
    return checked_number(pair[0], where), checked_number(pair[1], where)


def _list(value: Any, what: str, where: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(
            f"{where}: {what} must be a non-empty list and is {str(value)[:40]!r}; export it again"
        )
    return value
