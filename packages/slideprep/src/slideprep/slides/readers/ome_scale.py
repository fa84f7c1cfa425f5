"""What an OME-XML description says of an image's scale. Nothing is read here but the text.

In: the description of a TIFF's first page and the size of level 0. Out: :class:`OmeScale`. Attributes are those of the
schema 2016-06 (``Pixels/@PhysicalSizeX``, ``Objective/@NominalMagnification``); other years have the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

_MICRONS = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0,
    "nm": 1e-3, "pm": 1e-6, "\u00c5": 1e-4, "\u212b": 1e-4, "in": 25_400.0, "thou": 25.4,
}  # fmt: skip
"""µm in each unit of length. "pixel" and "reference frame" are none, and the rest no program writes."""

_DEFAULT_UNIT = "\u00b5m"
_BEGINNING = 4096


@dataclass(frozen=True, kw_only=True)
class OmeScale:
    """What is stated of level 0.

    Attributes:
        mpp_x: Microns per pixel, as the text has it or converted from its unit; None where it says nothing.
        mpp_y: The same along y.
        objective: Objective power as the text has it, or None.
        doubt: Why nothing of it can be believed, or None.
    """

    mpp_x: str | None = None
    mpp_y: str | None = None
    objective: str | None = None
    doubt: str | None = None


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, _name: str, _pubid: str | None, _system: str | None) -> None:
        """Called by the parser before anything that was declared is expanded."""
        raise ElementTree.ParseError("it declares a document type")


def is_ome_xml(description: str) -> bool:
    """Whether a page's description is OME-XML."""
    return "<OME" in description[:_BEGINNING] or "<ome:OME" in description[:_BEGINNING]


def ome_scale(description: str, size_l0: tuple[int, int]) -> OmeScale:
    """The scale of the image that is level 0: the first one of its size.

    Args:
        description: OME-XML.
        size_l0: (width, height), pixels.
    """
    try:
        root = ElementTree.fromstring(
            description.encode(), parser=ElementTree.XMLParser(target=_NoDoctype(), encoding="utf-8")
        )
    except (ElementTree.ParseError, ValueError) as error:
        return OmeScale(doubt=f"The OME-XML cannot be read ({error}), so its scale is not known.")
    images = [(image, pixels) for image in _all(root, "Image") for pixels in _all(image, "Pixels")]
    if not images:
        return OmeScale()
    fitting = [both for both in images if _size(both[1]) in (size_l0, None)]
    if not fitting:
        width, height = _size(images[0][1]) or (0, 0)
        return OmeScale(doubt=stale(f"{width} x {height}", size_l0, "OME-XML"))
    image, pixels = fitting[0]
    return OmeScale(
        mpp_x=_microns(pixels, "X"), mpp_y=_microns(pixels, "Y"), objective=_objective(root, image)
    )


def stale(stated: str, size_l0: tuple[int, int], where: str) -> str:
    """What to say of a description that states another size than the image has."""
    return (
        f"The {where} speaks of {stated} px and the image has {size_l0[0]} x {size_l0[1]}: some program made the image "
        "anew and kept the text, so the scale in it is not believed; the columns 'mpp' and 'objective' of labels.csv "
        "set it right."
    )


def _all(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of a name below another one, whatever the namespace."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2] == name)


def _size(pixels: ElementTree.Element) -> tuple[int, int] | None:
    width, height = pixels.get("SizeX", ""), pixels.get("SizeY", "")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def _microns(pixels: ElementTree.Element, axis: str) -> str | None:
    stated = pixels.get(f"PhysicalSize{axis}")
    factor = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", _DEFAULT_UNIT))
    if stated is None or factor is None:
        return None
    if factor == 1:
        return stated
    try:
        return f"{float(stated) * factor:.12g}"
    except ValueError:
        return stated


def _objective(root: ElementTree.Element, image: ElementTree.Element) -> str | None:
    """The power of the objective that the image names, or of the only one that there is."""
    objectives = {found.get("ID"): found for found in _all(root, "Objective")}
    named = [found.get("ID") for found in _all(image, "ObjectiveSettings")]
    chosen = objectives.get(named[0]) if named else next(iter(objectives.values()), None)
    if chosen is None or (not named and len(objectives) > 1):
        return None
    return chosen.get("NominalMagnification")
