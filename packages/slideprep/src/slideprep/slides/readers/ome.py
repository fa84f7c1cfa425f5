"""What OME-XML in a TIFF's description says of the images in it: how many, how large, with which channels and planes.

Only what tells whether the first page is the whole slide; no scale is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

_LARGEST = 50_000_000
_NUMBERED = re.compile(
    r"(image|series|scene|scan ?region|region|position|section|tissue|label|macro|overview|thumbnail)"
    r"[\s:_#-]*(image)?\d*",
    re.IGNORECASE,
)
"""Names that programs give. Others may be a patient's, and stay out of messages."""


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """One image of an OME-TIFF.

    Attributes:
        number: Its place in the file, from 1.
        name: As a program numbered it; None for a name that a person gave, or none.
        is_aside: It is called a label, macro, overview or thumbnail.
        width: Pixels.
        height: Pixels.
        planes: Focal planes.
        times: Time points.
        channels: Names, "" for one without.
    """

    number: int
    name: str | None
    is_aside: bool
    width: int
    height: int
    planes: int
    times: int
    channels: tuple[str, ...]


def ome_images(description: str) -> tuple[OmeImage, ...]:
    """The images that a description in OME-XML lists; none where it is something else, or damaged."""
    # a document type can make a small text swell, and OME-XML has none
    if "<OME" not in description or "<!DOCTYPE" in description or len(description) > _LARGEST:
        return ()
    try:
        root = ElementTree.fromstring(description.strip().encode())
        found = [element for element in root if _tag(element) == "Image"]
        return tuple(_image(element, number) for number, element in enumerate(found, start=1))
    except (ElementTree.ParseError, ValueError):
        return ()


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _image(element: ElementTree.Element, number: int) -> OmeImage:
    pixels = next((child for child in element if _tag(child) == "Pixels"), None)
    if pixels is None:
        raise ValueError("an image has no pixels")
    name = (element.get("Name") or "").strip()
    return OmeImage(
        number=number,
        name=name if _NUMBERED.fullmatch(name) else None,
        is_aside=re.search("label|macro|overview|thumb", name, re.IGNORECASE) is not None,
        width=int(pixels.get("SizeX", 0)),
        height=int(pixels.get("SizeY", 0)),
        planes=int(pixels.get("SizeZ", 1)),
        times=int(pixels.get("SizeT", 1)),
        channels=tuple(
            re.sub(r"[^\w .+-]", "", child.get("Name") or "")[:20]
            for child in pixels
            if _tag(child) == "Channel"
        ),
    )
