"""What OME-XML tells of the images of a file."""

from __future__ import annotations

import pytest

from slideprep.slides.readers.ome import ome_images

XML = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0" Name="{name}"><Pixels SizeX="30" SizeY="20" SizeZ="3" SizeC="2" SizeT="5">
<Channel ID="Channel:0:0" Name="DAPI"/><Channel ID="Channel:0:1"/></Pixels></Image>
<Image ID="Image:1" Name="label image"><Pixels SizeX="3" SizeY="2"/></Image></OME>"""


def test_images_are_told_with_planes_times_and_channels() -> None:
    """Sizes, counts and names are those of the XML; what is absent counts once."""
    first, second = ome_images(XML.format(name="Series 1"))
    assert (first.number, first.name, first.width, first.height) == (1, "Series 1", 30, 20)
    assert (first.planes, first.times, first.channels, first.is_aside) == (3, 5, ("DAPI", ""), False)
    assert (second.planes, second.times, second.channels, second.is_aside) == (1, 1, (), True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Image0", True),
        ("scene #12", True),
        ("ScanRegion0", True),
        ("Smith 12", False),
        ("1234567", False),
        ("", False),
    ],
)
def test_names_that_a_person_may_have_given_are_not_told(name: str, told: bool) -> None:
    """A message may end in a set with pseudonyms: only names that programs count by are passed on."""
    assert ome_images(XML.format(name=name))[0].name == (name if told else None)


@pytest.mark.parametrize(
    "text",
    ["", "Aperio", "<OME", "<OME></OME>", "<OME><Image/></OME>", "<!DOCTYPE a><OME/>",
     '<OME><Image><Pixels SizeX="many"/></Image></OME>'],
)  # fmt: skip
def test_what_is_no_ome_xml_lists_nothing(text: str) -> None:
    """Other descriptions, damaged XML, and XML that could swell have no images."""
    assert ome_images(text) == ()
