"""The scale that a file states: what counts, what cannot be true, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
import tifffile

from fixtures.slides import APERIO, picture, slide_file, write_dicom, write_svs
from slideprep.errors import MagnificationError
from slideprep.slides.readers.choose import open_reader
from slideprep.slides.readers.stated_scale import StatedScale, stated_scale
from slideprep.units import resolve_scale

PICTURE = picture(150, 130)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '{instrument}<Image ID="Image:0">{settings}<Pixels ID="Pixels:0" SizeX="150" SizeY="130" {scale}/></Image></OME>'
)
HALF_MM = 'PhysicalSizeX="0.0005" PhysicalSizeXUnit="mm" PhysicalSizeY="0.0005" PhysicalSizeYUnit="mm"'
HALF = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5"'


def _stated(text: str = "", **properties: str) -> StatedScale:
    """Of a slide of 150 x 130 px."""
    size = {"openslide.level[0].width": "150", "openslide.level[0].height": "130"}
    named = {f"openslide.{key.replace('_', '-')}": value for key, value in properties.items()}
    return stated_scale({"tiff.ImageDescription": text, **size, **named})


def _ome(scale: str = HALF, instrument: str = "", settings: str = "") -> str:
    return OME.format(scale=scale, instrument=instrument, settings=settings)


def _doubts(scale: StatedScale) -> str:
    return " ".join(scale.doubts)


@pytest.mark.parametrize("power", ["0", "-1", "400", "1e9", "nan", "inf", "abc", "0.01"])
def test_an_impossible_objective_is_absent_and_the_mpp_counts(power: str) -> None:
    """400x is no objective (an eyepiece multiplied it); the warning holds the value and names what counts instead."""
    found = _stated(mpp_x="0.5", mpp_y="0.5", objective_power=power)
    assert (found.mpp, found.objective) == (0.5, None)
    assert f"objective power of {power} is outside 0.5-160" in _doubts(found)
    assert "the mpp of 0.5 counts, which is that of 20x" in _doubts(found)


@pytest.mark.parametrize(
    ("power", "value"), [("20", 20), ("1.25", 1.25), ("40,0", 40), (" 63 ", 63), ("150", 150)]
)
def test_an_objective_that_can_be_is_the_files(power: str, value: float) -> None:
    """Any power from 0.5 to 160, with a point or a comma, is taken without a word."""
    assert _stated(objective_power=power) == StatedScale(mpp=None, objective=value, doubts=())


@pytest.mark.parametrize(
    ("mpp", "says"),
    [
        ("0.0005", "in mm it would be 0.5 µm"),
        ("500", "in nm it would be 0.5 µm"),
        ("0.00005", "in cm it would be 0.5 µm"),
        ("0", "mpp of 0 is"),
        ("-0.5", "mpp of -0.5 is"),
        ("nan", "mpp of nan is"),
        ("1e9", "mpp of 1e+09 is"),
    ],
)
def test_an_impossible_mpp_is_absent_and_the_objective_counts(mpp: str, says: str) -> None:
    """A number in millimetres or nanometres is not converted: it is named, with what it would be, and left out."""
    found = _stated(mpp_x=mpp, mpp_y=mpp, objective_power="20")
    assert (found.mpp, found.objective) == (None, 20)
    assert says in _doubts(found)
    assert "the objective power of 20x counts" in _doubts(found)


def test_an_mpp_with_a_comma_is_read() -> None:
    """0,4990 is 0.499."""
    assert _stated(mpp_x="0,4990", mpp_y="0,4990").mpp == 0.499


@pytest.mark.parametrize(
    ("x", "y", "mpp", "says"),
    [
        ("0.5", "0.505", 0.5025, ""),
        ("0.50", "0.52", 0.51, "their mean is used"),
        ("0.5", "0.25", None, "no scanner's pixels are so oblong"),
        ("0.5", "352.8", None, "mpp of 352.8 is outside"),
    ],
)
def test_mpp_of_x_and_y(x: str, y: str, mpp: float | None, says: str) -> None:
    """Nearly square pixels are averaged, with a word beyond 2 %; beyond 10 % one side is wrong, and neither counts."""
    found = _stated(mpp_x=x, mpp_y=y)
    assert found.mpp == pytest.approx(mpp)
    assert says in _doubts(found)
    assert bool(says) == bool(found.doubts)


@pytest.mark.parametrize(
    ("mpp", "objective", "expected", "says"),
    [
        ("0.23", "20", (0.23, 20), ""),
        ("0.55", "20", (0.55, 20), ""),
        ("0.5", "40", (0.5, 40), ""),
        ("0.06", "10", (None, 10), "no usual scan has such an mpp"),
        ("15", "20", (None, 20), "no usual scan has such an mpp"),
        ("0.5", "7", (0.5, None), "no usual objective has such a power"),
        ("5", "20", (5, 20), "by a factor of 10.0: one of them is wrong"),
        ("0.25", "4", (0.25, 4), "by a factor of 10.0: one of them is wrong"),
    ],
)
def test_what_contradicts_itself(
    mpp: str, objective: str, expected: tuple[float | None, float | None], says: str
) -> None:
    """Up to 2.5 times they may differ; beyond, the unusual one is left out, and where both are usual that is said."""
    found = _stated(mpp_x=mpp, mpp_y=mpp, objective_power=objective)
    assert (found.mpp, found.objective) == expected
    assert says in _doubts(found)
    assert bool(says) == bool(found.doubts)


@pytest.mark.parametrize(
    "text",
    [
        "Aperio Image Library v11.2.1 \r\n46000x32914 [42673,5576 150x130] (240x240) JPEG/RGB Q=30;Aperio Image "
        "Library v10.0.51\r\n46920x33014 [0,100 46000x32914] (256x256) JPEG/RGB Q=30|AppMag = 20|MPP = 0.5",
        "Aperio Leica Biosystems GT450 v1.0.1\r\n160x140 [0,0,150x130] (256x256) JPEG/YCC Q=91|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v12\r\n150x130 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v12\r\n130x150 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v12\r\n151x131 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v12|AppMag = 20|MPP = 0.5",
    ],
    ids=["part of a scan", "GT450", "whole", "turned by a quarter", "cut by a pixel", "silent"],
)
def test_an_aperio_description_of_the_image_is_believed(text: str) -> None:
    """What was cut out of a scan, or turned, keeps its scale; a description without a size contradicts nothing."""
    found = _stated(text, vendor="aperio", mpp_x="0.5", mpp_y="0.5", objective_power="20")
    assert found == StatedScale(mpp=0.5, objective=20, doubts=())


@pytest.mark.parametrize(
    "text",
    [
        "Aperio Image Library v11\r\n300x260 [0,0 300x260] (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v11\r\n300x260 (256x256) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5",
        "Aperio Image Library v11\r\n600x500 [0,0 300x260] (256x256) -> 150x130 JPEG/RGB Q=70|AppMag = 20|MPP = 0.5",
    ],
    ids=["halved", "halved, without a part", "reduced by Aperio"],
)
def test_a_description_of_another_size_is_not_believed(text: str) -> None:
    """An image that was made smaller under the old text has neither the mpp nor the objective of the text."""
    found = _stated(text, vendor="aperio", mpp_x="0.5", mpp_y="0.5", objective_power="20")
    assert (found.mpp, found.objective) == (None, None)
    assert "speaks of 300 x 260 px and the image has 150 x 130" in _doubts(found)
    assert "labels.csv" in _doubts(found)


@pytest.mark.parametrize(
    ("scale", "mpp"),
    [
        (HALF, 0.5),
        ('PhysicalSizeX="0.5" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm"', 0.5),
        (
            'PhysicalSizeX="0.5" PhysicalSizeXUnit="\u03bcm" PhysicalSizeY="0.5" PhysicalSizeYUnit="\u03bcm"',
            0.5,
        ),
        ('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="500" PhysicalSizeYUnit="nm"', 0.5),
        (HALF_MM, 0.5),
        ('PhysicalSizeX="5e-5" PhysicalSizeXUnit="cm" PhysicalSizeY="0.5"', 0.5),
        ('PhysicalSizeX="0.5"', 0.5),
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"', None),
        ("", None),
    ],
    ids=["no unit", "micro sign", "Greek mu", "nm", "mm", "two units", "x alone", "pixels", "nothing"],
)
def test_ome_xml_says_the_size_of_a_pixel(scale: str, mpp: float | None) -> None:
    """PhysicalSizeX is µm unless a unit is named; pixels are no unit of length."""
    assert _stated(_ome(scale)) == StatedScale(mpp=mpp, objective=None, doubts=())


def test_ome_xml_comes_before_resolution_tags() -> None:
    """Where both are plausible and differ, OME-XML's counts, and both are named; absurd resolution tags are not."""
    found = _stated(_ome(), mpp_x="1.0", mpp_y="1.0")
    assert found.mpp == 0.5
    assert found.doubts == ("The resolution tags say 1 µm per pixel and OME-XML 0.5; OME-XML's counts.",)
    assert _stated(_ome(), mpp_x="352.8", mpp_y="352.8") == StatedScale(mpp=0.5, objective=None, doubts=())


def test_an_impossible_size_in_ome_xml_leaves_the_resolution_tags() -> None:
    """PhysicalSizeX 0 is left out with a word, and the sound tags count."""
    found = _stated(_ome('PhysicalSizeX="0" PhysicalSizeY="0"'), mpp_x="0.25", mpp_y="0.25")
    assert found.mpp == 0.25
    assert "mpp of 0 is outside" in _doubts(found)


@pytest.mark.parametrize(
    ("instrument", "settings", "objective"),
    [
        ('<Objective ID="a" NominalMagnification="20"/>', "", 20),
        ('<Objective ID="a" NominalMagnification="20"/>', '<ObjectiveSettings ID="a"/>', 20),
        (
            '<Objective ID="a" NominalMagnification="10"/><Objective ID="b" NominalMagnification="40"/>',
            "",
            None,
        ),
        (
            '<Objective ID="a" NominalMagnification="10"/><Objective ID="b" NominalMagnification="40"/>',
            '<ObjectiveSettings ID="b"/>',
            40,
        ),
        ('<Objective ID="a"/>', "", None),
    ],
    ids=["the only one", "named", "several, none named", "several, one named", "without a power"],
)
def test_ome_xml_says_the_objective(instrument: str, settings: str, objective: float | None) -> None:
    """The objective that the image names counts, or the only one that there is; of several none is chosen."""
    scale = 'PhysicalSizeX="0.4"'
    assert _stated(_ome(scale, f"<Instrument>{instrument}</Instrument>", settings)).objective == objective


def test_ome_xml_of_another_size_is_not_believed() -> None:
    """As of Aperio's description: whoever halved the image has to say its scale."""
    found = _stated(_ome().replace('SizeX="150" SizeY="130"', 'SizeX="300" SizeY="260"'))
    assert found.mpp is None
    assert "OME-XML speaks of 300 x 260 px" in _doubts(found)


def test_the_image_of_the_slides_size_counts() -> None:
    """Of a macro and a slide in one OME-XML the slide's scale is taken."""
    macro = '<Image ID="m"><Pixels SizeX="40" SizeY="30" PhysicalSizeX="20"/></Image><Image ID="Image:0">'
    assert _stated(_ome().replace('<Image ID="Image:0">', macro)).mpp == 0.5


@pytest.mark.parametrize("text", ["<OME", "<!DOCTYPE a [<!ENTITY b 'c'>]><OME>&b;</OME>", "<OME><a></OME>"])
def test_broken_ome_xml_states_nothing(text: str) -> None:
    """It is named as unreadable, and the resolution tags count."""
    found = _stated(text, mpp_x="0.5", mpp_y="0.5")
    assert found.mpp == 0.5
    assert "OME-XML cannot be read" in _doubts(found)


WRITERS: dict[str, dict[str, Any]] = {
    "tiff-jpeg": {"tile": (64, 64), "compression": "jpeg"},
    "tiff-deflate": {"tile": (64, 64), "compression": "zlib"},
    "openslide": {"tile": (64, 64), "compression": "lzw"},
    "libvips": {"rowsperstrip": 16},
}


@pytest.mark.parametrize("reader", WRITERS)
def test_every_reader_takes_the_scale_of_ome_xml(tmp_path: Path, reader: str) -> None:
    """In an OME-TIFF, tiled or not, and with a reduced image in a SubIFD, level 0 is 0.5 µm, as its OME-XML says."""
    path = tmp_path / "a.ome.tif"
    meta = {"axes": "YXS", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}
    options = {"photometric": "rgb", **WRITERS[reader]}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(PICTURE, subifds=1, metadata=meta, **options)
        tif.write(PICTURE[::2, ::2], subfiletype=1, **options)
    with open_reader(slide_file(path)) as slide:
        assert (slide.reader, slide.mpp, slide.scale_doubts) == (reader, 0.5, ())


def test_a_halved_svs_has_no_scale_and_the_reason_is_said(tmp_path: Path) -> None:
    """The slide's warnings and the error that ends its reading name the stale description; labels.csv overrules it."""
    path = tmp_path / "a.svs"
    text = APERIO.format(width=300, height=260, objective=20, mpp=0.5)
    tifffile.imwrite(path, PICTURE, tile=(64, 64), photometric="rgb", description=text, metadata=None)
    with open_reader(slide_file(path)) as slide:
        known = {
            "slide_objective": slide.objective,
            "slide_mpp": slide.mpp,
            "slide_doubts": slide.scale_doubts,
        }
        assert slide.warnings == list(slide.scale_doubts)
    with pytest.raises(
        MagnificationError, match=r"that can be believed.*labels\.csv\. The description speaks of"
    ):
        resolve_scale(name="a.svs", mode="objective", **known)
    assert resolve_scale(name="a.svs", mode="objective", label_objective=10, **known).objective == 10


@pytest.mark.parametrize(
    ("mpp", "objective", "expected"),
    [(0.5, 400, (0.5, None)), (0.5, "20,0", (0.5, 20)), ("0,4990", 20, (0.499, 20)), (500, 20, (None, 20))],
)
def test_an_svs_with_one_absurd_number_keeps_the_other(
    tmp_path: Path, mpp: Any, objective: Any, expected: tuple[float | None, float | None]
) -> None:
    """AppMag and MPP as OpenSlide hands them over, with decimal commas too."""
    with open_reader(
        slide_file(write_svs(tmp_path / "a.svs", PICTURE, mpp=mpp, objective=objective))
    ) as slide:
        assert (slide.mpp, slide.objective) == expected
        assert bool(slide.warnings) == (None in expected)


@pytest.mark.parametrize(
    ("spacing", "power", "expected"),
    [
        ([0.0005, 0.0005], "20", (0.5, 20)),
        ([0.0005, 0.0005], "400", (0.5, None)),
        ([0.5, 0.5], "20", (None, 20)),
        ([0.0005, 0.00025], "20", (None, 20)),
    ],
)
def test_a_dicom_file_says_pixel_spacing_and_lens_power(
    tmp_path: Path, spacing: list[float], power: str, expected: tuple[float | None, float | None]
) -> None:
    """PixelSpacing is in millimetres, ObjectiveLensPower stands with the optical path; each is judged as elsewhere."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE)
    file = pydicom.dcmread(path)
    file.OpticalPathSequence[0].ObjectiveLensPower = power
    file.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = spacing
    file.save_as(path)
    with open_reader(slide_file(path)) as slide:
        assert (slide.mpp, slide.objective) == expected
        assert bool(slide.scale_doubts) == (None in expected)
