"""Aperio ImageScope's XML -> regions. Level-0 pixels, (x, y) top left.

An ``Annotation`` is a layer, usually one per class; each ``Region`` of it is one outline: freehand (Type 0),
rectangle (Type 1) or ellipse (Type 2). A region drawn as negative (``NegativeROA="1"``) is a hole in the
others of its layer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import cos, pi, sin
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from slideprep.errors import InputError
from slideprep.text import readable, unbroken
from slideprep.tissue.annotations import AnnotatedRegion, Polygon, Ring, checked_number, checked_ring

_FREEHAND, _RECTANGLE, _ELLIPSE = "0", "1", "2"

ELLIPSE_CORNERS = 72
"""Corners of the polygon that stands for an ellipse: at 5 degrees each, within 0.1 % of its half axes."""


MOST_HOLES = 1_000_000
"""Pairs of a region and a hole in it that a layer may have: each is kept, and thousands of both would be millions."""


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds the tree, and refuses a document type, where entities that expand without bound are declared."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called by the parser at a DOCTYPE, before anything in it is expanded."""
        raise InputError(
            f"it declares a document type ('{name}'), which ImageScope never writes and which can hide "
            "entities that expand without bound; remove the DOCTYPE"
        )


@dataclass(frozen=True, kw_only=True)
class _Outline:
    ring: Ring
    negative: bool
    region: AnnotatedRegion


def regions_from_xml(data: bytes, file_name: str) -> tuple[list[AnnotatedRegion], list[str]]:
    """Outlines of an ImageScope file as regions, and notes on what else it holds.

    Args:
        data: The file's bytes.
        file_name: For messages.

    Raises:
        InputError: Broken XML, a DOCTYPE, a file that is not ImageScope's, or a bad outline.
    """
    regions: list[AnnotatedRegion] = []
    notes: list[str] = []
    skipped = Counter[str]()
    number = 0
    for layer in _root(data, file_name).iter("Annotation"):
        outlines = []
        for element in layer.iterfind("Regions/Region"):
            number += 1
            kind = element.get("Type", _FREEHAND)
            if kind in (_FREEHAND, _RECTANGLE, _ELLIPSE):
                outlines.append(_outline(element, kind, layer, f"{file_name}, region {number}"))
            else:
                skipped[kind] += 1
        layer_regions, layer_notes = _with_holes(outlines)
        regions += layer_regions
        notes += layer_notes
    notes += [
        f"{file_name}: {count} regions of Type {kind} (arrow, ruler or other) left out, only outlines are "
        "regions"
        for kind, count in skipped.items()
    ]
    return regions, notes


def _root(data: bytes, file_name: str) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    remedy = "save the annotations again in ImageScope"
    try:
        root = ElementTree.fromstring(data, parser=parser)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise InputError(
            f"{file_name} is broken XML, line {line} column {column}: {error}; {remedy}"
        ) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise InputError(f"{file_name} is not readable as XML: {error}; {remedy}") from error
    except InputError as error:
        raise InputError(f"{file_name} is refused: {error}") from error
    if root.tag != "Annotations":
        raise InputError(
            f"{file_name} is XML but not of ImageScope: its root is <{root.tag}>, not <Annotations>; {remedy}"
        )
    return root


def _outline(element: ElementTree.Element, kind: str, layer: ElementTree.Element, where: str) -> _Outline:
    corners = [
        (checked_number(v.get("X"), where), checked_number(v.get("Y"), where))
        for v in element.iterfind("Vertices/Vertex")
    ]
    ring = checked_ring(_shape(corners, kind), where)
    text = _text(element.get("Text"))
    region = AnnotatedRegion(
        class_name=_layer_class(layer) or text,
        name=text,
        polygons=(Polygon(exterior=ring),),
        where=where,
    )
    return _Outline(ring=ring, negative=element.get("NegativeROA") == "1", region=region)


def _shape(corners: list[tuple[float, float]], kind: str) -> list[tuple[float, float]]:
    """The outline itself: two corners may stand for a rectangle, a bounding box stands for an ellipse."""
    if kind == _FREEHAND or len(corners) < 2 or (kind == _RECTANGLE and len(corners) > 2):
        return corners
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    if kind == _RECTANGLE:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    angles = [2 * pi * i / ELLIPSE_CORNERS for i in range(ELLIPSE_CORNERS)]
    centre_x, centre_y, half_x, half_y = (
        (left + right) / 2,
        (top + bottom) / 2,
        (right - left) / 2,
        (bottom - top) / 2,
    )
    return [(centre_x + half_x * cos(a), centre_y + half_y * sin(a)) for a in angles]


def _layer_class(layer: ElementTree.Element) -> str | None:
    """The layer's name, else its first attribute with a value, where users often write the class."""
    values = [layer.get("Name"), *(a.get("Value") for a in layer.iterfind("Attributes/Attribute"))]
    return next((text for value in values if (text := _text(value))), None)


def _text(value: str | None) -> str | None:
    return readable(unbroken((value or "").strip())) or None


def _with_holes(outlines: list[_Outline]) -> tuple[list[AnnotatedRegion], list[str]]:
    """The positive outlines, each with the negative ones whose boxes overlap its own."""
    negatives = [o for o in outlines if o.negative]
    bounds = np.array([hole.region.bounds for hole in negatives]).reshape(-1, 4)
    regions, used, pairs = [], set[int](), 0
    for outline in (o for o in outlines if not o.negative):
        holes = np.flatnonzero(_overlaps(outline.region.bounds, bounds)).tolist()
        used.update(holes)
        pairs += len(holes)
        if pairs > MOST_HOLES:
            raise InputError(
                f"{outline.region.where}: the regions of its layer and the negative ones overlap in more than "
                f"{MOST_HOLES:,} pairs, which nobody draws; save the annotations again without what a program made"
            )
        polygon = Polygon(exterior=outline.ring, holes=tuple(negatives[i].ring for i in holes))
        regions.append(replace(outline.region, polygons=(polygon,)))
    notes = [
        f"{hole.region.where}: a negative region that overlaps no region of its layer was left out"
        for i, hole in enumerate(negatives)
        if i not in used
    ]
    return regions, notes


def _overlaps(
    box: tuple[float, float, float, float], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which of the boxes, (left, top, right, bottom) a row, overlap one."""
    left, top, right, bottom = others.T
    overlaps: npt.NDArray[np.bool_] = (box[0] < right) & (left < box[2]) & (box[1] < bottom) & (top < box[3])
    return overlaps
