"""Annotation files of QuPath and ImageScope, good ones and broken ones, and the export that reads back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slideprep.errors import InputError
from slideprep.tissue import annotation_files as annotations_io
from slideprep.tissue.annotation_files import Annotations, read_annotations, regions_geojson
from slideprep.tissue.annotations import inside_mask
from slideprep.units import Box

SQUARE = [[10, 20], [30, 20], [30, 50], [10, 50], [10, 20]]
HOLE = [[14, 24], [20, 24], [20, 30], [14, 24]]


def feature(geometry: Any = None, **properties: Any) -> dict[str, Any]:
    """A GeoJSON feature, a square where no geometry is given."""
    return {
        "type": "Feature",
        "geometry": geometry or {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": properties,
    }


def collection(*features: Any) -> dict[str, Any]:
    """A FeatureCollection."""
    return {"type": "FeatureCollection", "features": list(features)}


def read(folder: Path, content: Any, name: str = "case7.geojson") -> Annotations:
    """Write the content, as JSON where it is not text, and read it."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_annotations(path)


def refused(folder: Path, content: Any, rule: str, name: str = "case7.geojson") -> None:
    """Reading fails, the message naming the file and the rule."""
    with pytest.raises(InputError, match=rule) as caught:
        read(folder, content, name)
    assert name in str(caught.value)


def region_xml(
    vertices: list[tuple[Any, Any]], *, kind: str = "0", negative: str = "0", text: str = ""
) -> str:
    """One Region element."""
    corners = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in vertices)
    attributes = f'Id="1" Type="{kind}" NegativeROA="{negative}" Text="{text}"'
    return f"<Region {attributes}><Vertices>{corners}</Vertices></Region>"


def layer_xml(*regions: str, name: str = "", attribute: str = "") -> str:
    """One Annotation element."""
    return (
        f'<Annotation Name="{name}"><Attributes><Attribute Name="Description" Value="{attribute}"/></Attributes>'
        f"<Regions><RegionAttributeHeaders/>{''.join(regions)}</Regions></Annotation>"
    )


def document(*layers: str) -> str:
    """An ImageScope file."""
    return f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.5">{"".join(layers)}</Annotations>'


TRIANGLE = [(0, 0), (40, 0), (0, 40)]


@pytest.mark.parametrize(
    "wrap", [collection, lambda f: [f], lambda f: f], ids=["collection", "list", "feature"]
)
@pytest.mark.parametrize("name", ["case7.geojson", "case7.json", "CASE7.GeoJSON"])
def test_reads_a_polygon(tmp_path: Path, wrap: Any, name: str) -> None:
    """QuPath's three ways to write features, with class and name, give one region in level-0 pixels."""
    content = wrap(
        feature(objectType="annotation", classification={"name": "Tumor", "color": [1, 2, 3]}, name="A")
    )
    (region,) = read(tmp_path, content, name).regions
    assert (region.class_name, region.name, region.where) == ("Tumor", "A", f"{name}, feature 1")
    assert region.polygons[0].exterior == ((10, 20), (30, 20), (30, 50), (10, 50))
    assert region.box(width_l0=100, height_l0=100) == Box(x=10, y=20, width=20, height=30)


@pytest.mark.parametrize(
    ("classification", "class_name"),
    [
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ("Stroma", "Stroma"),
        ({}, None),
        (None, None),
        ({"name": " "}, None),
    ],
)
def test_reads_classes(tmp_path: Path, classification: Any, class_name: str | None) -> None:
    """Derived classes are joined as QuPath shows them, a bare string is a class, and none is none."""
    (region,) = read(tmp_path, collection(feature(classification=classification))).regions
    assert region.class_name == class_name


def test_reads_multipolygons_and_holes(tmp_path: Path) -> None:
    """A multipolygon is one region of several parts, and further rings of a polygon are its holes."""
    far = [[[60, 60], [70, 60], [70, 70], [60, 60]]]
    shape = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], far]}
    (region,) = read(tmp_path, collection(feature(shape))).regions
    assert [len(polygon.holes) for polygon in region.polygons] == [1, 0]
    mask = inside_mask(region, x_l0=0, y_l0=0, factor=1, width=80, height=80)
    assert mask[45, 15]
    assert not mask[25, 17]
    assert mask[61, 65]


def test_skips_what_is_no_region_with_a_note(tmp_path: Path) -> None:
    """Points, lines and detections are counted in the notes, and feature numbers still count them."""
    line = {"type": "LineString", "coordinates": [[0, 0], [5, 5]]}
    point = {"type": "Point", "coordinates": [3, 3]}
    old_cell = feature() | {"id": "PathCellObject"}
    content = collection(
        feature(line), feature(point), feature(point), feature(objectType="detection"), old_cell, feature()
    )
    result = read(tmp_path, content)
    assert [region.where for region in result.regions] == ["case7.geojson, feature 6"]
    assert [note.split(": ")[1].split(" left out")[0] for note in result.notes] == [
        "1 LineString geometry",
        "2 Point geometries",
        "1 detection object",
        "1 PathCellObject object",
    ]


def test_reads_an_empty_collection(tmp_path: Path) -> None:
    """A slide in which nothing was drawn is no error."""
    assert read(tmp_path, collection()) == Annotations(regions=(), notes=())


@pytest.mark.parametrize(
    ("ring", "rule"),
    [
        ([[0, 0], [9, 0], [9, 9], [0, 9]], "must end where it starts"),
        ([[0, 0], [9, 0], [0, 0]], "at least 3 different corners"),
        ([[0, 0], [0, 0], [9, 0], [9, 0], [0, 0]], "at least 3 different corners"),
        ([[0, 0], [9, 9], [5, 5], [0, 0]], "no area"),
        ([[0.1, 0.1], [0.9, 0.1], [0.5, 0.8], [0.1, 0.1]], "smaller than one level-0 pixel"),
        ([[0, 0], [9, "nine"], [5, 5], [0, 0]], "finite numbers"),
        ([[0, 0], [9, True], [5, 5], [0, 0]], "finite numbers"),
        ([[0, 0], [9, None], [5, 5], [0, 0]], "finite numbers"),
        ([[0, 0], [9], [5, 5], [0, 0]], r"must be \[x, y\]"),
        ([], "non-empty list"),
        ("ring", "non-empty list"),
    ],
)
def test_refuses_bad_outlines(tmp_path: Path, ring: Any, rule: str) -> None:
    """Each rule of an outline is named, together with the feature that breaks it."""
    shape = {"type": "Polygon", "coordinates": [ring]}
    refused(tmp_path, collection(feature(), feature(shape)), f"feature 2: .*{rule}")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ('{"type": "FeatureCollection",\n "features": [', "broken JSON, line 2"),
        ('{"features": []}', "not GeoJSON"),
        ("3", "not GeoJSON"),
        ('{"type": "FeatureCollection"}', "not GeoJSON"),
        ("[1]", "feature 1: must be an object of type 'Feature'"),
        ('[{"type": "Feature", "geometry": [1]}]', "feature 1: 'geometry' and 'properties'"),
        (
            '[{"type": "Feature", "geometry": {"type": "Polygon"}}]',
            "feature 1: a polygon must be a non-empty list",
        ),
        ("[" * 100_000, "nested too deeply"),
        ("[1" + "0" * 5000 + "]", "too many digits"),
    ],
)
def test_refuses_broken_json(tmp_path: Path, content: str, rule: str) -> None:
    """Empty, cut-off, nested or foreign JSON is refused with the reason, and the line where there is one."""
    refused(tmp_path, content, rule)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_refuses_non_finite_json_numbers(tmp_path: Path, number: str) -> None:
    """Not-a-number and infinity are no coordinates, written out or by overflow."""
    content = json.dumps(collection(feature())).replace("[30, 20]", f"[{number}, 20]")
    refused(tmp_path, content, "finite numbers")


def test_refuses_places_on_earth(tmp_path: Path) -> None:
    """A file with a coordinate reference system holds no pixels."""
    refused(tmp_path, collection(feature()) | {"crs": {"type": "name"}}, "'crs'")


def test_refuses_other_files(tmp_path: Path) -> None:
    """Unknown suffixes, missing files, bytes that are no text, and files beyond the limit are refused by name."""
    refused(tmp_path, "x", "suffix is '.txt'", name="case7.txt")
    with pytest.raises(InputError, match=r"gone\.geojson cannot be read"):
        read_annotations(tmp_path / "gone.geojson")
    (tmp_path / "bytes.json").write_bytes(b'["\xff\xfe"]')
    with pytest.raises(InputError, match=r"bytes\.json is not UTF-8 text \(byte 2\)"):
        read_annotations(tmp_path / "bytes.json")


def test_refuses_huge_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file over the limit is refused before it is read."""
    monkeypatch.setattr(annotations_io, "MAX_FILE_BYTES", 10)
    refused(tmp_path, collection(feature()), "annotation files may have 10")


def test_reads_imagescope(tmp_path: Path) -> None:
    """Each outline of a layer is a region with the layer's name as class and its own text as name."""
    content = document(layer_xml(region_xml(TRIANGLE, text="one"), region_xml(TRIANGLE), name="Tumor"))
    regions = read(tmp_path, content, "case7.xml").regions
    assert [(r.class_name, r.name, r.where) for r in regions] == [
        ("Tumor", "one", "case7.xml, region 1"),
        ("Tumor", None, "case7.xml, region 2"),
    ]
    assert regions[0].polygons[0].exterior == ((0, 0), (40, 0), (0, 40))


def test_imagescope_class_falls_back(tmp_path: Path) -> None:
    """Without a layer name the layer's attribute is the class, then the region's text, then nothing."""
    content = document(
        layer_xml(region_xml(TRIANGLE, text="t"), attribute="Stroma"),
        layer_xml(region_xml(TRIANGLE, text="Acinar")),
        layer_xml(region_xml(TRIANGLE)),
    )
    assert [r.class_name for r in read(tmp_path, content, "a.xml").regions] == ["Stroma", "Acinar", None]


@pytest.mark.parametrize(
    "corners", [[(10, 20), (30, 50)], [(30, 50), (10, 20)], [(10, 20), (30, 20), (30, 50), (10, 50)]]
)
def test_imagescope_rectangles(tmp_path: Path, corners: list[tuple[int, int]]) -> None:
    """A rectangle by two opposite corners or all four is the same box."""
    (region,) = read(tmp_path, document(layer_xml(region_xml(corners, kind="1"))), "a.xml").regions
    assert region.box(width_l0=90, height_l0=90) == Box(x=10, y=20, width=20, height=30)


def test_imagescope_ellipses(tmp_path: Path) -> None:
    """An ellipse fills its bounding box as an ellipse does, to pi / 4, within half a percent."""
    content = document(layer_xml(region_xml([(100, 100), (300, 200)], kind="2")))
    (region,) = read(tmp_path, content, "a.xml").regions
    assert region.box(width_l0=900, height_l0=900) == Box(x=100, y=100, width=200, height=100)
    area = inside_mask(region, x_l0=0, y_l0=0, factor=0.5, width=800, height=800).sum() / 4
    assert area == pytest.approx(np.pi * 100 * 50, rel=0.005)


def test_imagescope_negative_regions_are_holes(tmp_path: Path) -> None:
    """A negative region is a hole in the outlines of its layer that it overlaps; elsewhere it is noted."""
    hole = region_xml([(5, 5), (15, 5), (15, 15), (5, 15)], negative="1")
    stray = region_xml([(500, 500), (510, 500), (510, 510)], negative="1")
    result = read(
        tmp_path,
        document(layer_xml(hole, region_xml(TRIANGLE), stray), layer_xml(region_xml(TRIANGLE))),
        "a.xml",
    )
    assert [len(r.polygons[0].holes) for r in result.regions] == [1, 0]
    assert result.notes == (
        "a.xml, region 3: a negative region that overlaps no region of its layer was left out",
    )


def test_imagescope_arrows_are_skipped(tmp_path: Path) -> None:
    """Arrows and rulers are no outlines and are counted in a note."""
    content = document(layer_xml(region_xml([(0, 0), (5, 5)], kind="3"), region_xml(TRIANGLE)))
    result = read(tmp_path, content, "a.xml")
    assert len(result.regions) == 1
    assert result.notes[0].startswith("a.xml: 1 regions of Type 3")


BOMB = '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "is empty"),
        (document(layer_xml(region_xml(TRIANGLE)))[:-20], "broken XML, line 1"),
        (BOMB + "<Annotations><Annotation>&c;</Annotation></Annotations>", "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname"><Annotations/>', "document type"),
        ('<?xml version="1.0" encoding="no-such"?><Annotations/>', "no-such|encoding"),
        ("<ASAP_Annotations/>", "root is <ASAP_Annotations>"),
        (document(layer_xml(region_xml([(0, 0), (9, "nan"), (9, 9)]))), "region 1: .*finite numbers"),
        (document(layer_xml(region_xml([(0, 0), (9, "1e999"), (9, 9)]))), "region 1: .*finite numbers"),
        (document(layer_xml(region_xml([(0, 0), (9, ""), (9, 9)]))), "region 1: .*finite numbers"),
        (document(layer_xml(region_xml([(0, 0), (9, 9)]))), "region 1: .*at least 3"),
        (document(layer_xml(region_xml([(0, 0), (9, 0)], kind="2"))), "region 1: .*no area"),
    ],
)
def test_refuses_broken_xml(tmp_path: Path, content: str, rule: str) -> None:
    """Empty, cut-off, foreign or hostile XML and bad numbers are refused by file, place and rule."""
    refused(tmp_path, content, rule, name="case7.xml")


def test_export_reads_back(tmp_path: Path) -> None:
    """Exported regions read back to the same boxes, classes and names."""
    regions = [
        (Box(x=0, y=0, width=2048, height=1000), "Tumor", "region 1"),
        (Box(x=70_001, y=12, width=1, height=33), None, None),
        (Box(x=5, y=6, width=7, height=8), "Größe <b>", None),
    ]
    result = read(tmp_path, regions_geojson(regions))
    again = [(r.box(width_l0=100_000, height_l0=100_000), r.class_name, r.name) for r in result.regions]
    assert again == regions
    assert result.notes == ()


def test_export_is_what_qupath_opens() -> None:
    """Annotations in a FeatureCollection, rings closed, a class with a name and an RGB colour."""
    exported = regions_geojson([(Box(x=1, y=2, width=3, height=4), "B", None)], colours={"B": (9, 8, 7)})
    assert exported == {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[[1, 2], [4, 2], [4, 6], [1, 6], [1, 2]]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": "B", "color": [9, 8, 7]},
                },
            }
        ],
    }


def test_export_colours_do_not_depend_on_order() -> None:
    """A class has the same colour wherever its regions stand, and two classes have different ones."""
    box = Box(x=0, y=0, width=1, height=1)
    colours = [
        {
            f["properties"]["classification"]["name"]: f["properties"]["classification"]["color"]
            for f in made["features"]
        }
        for made in (regions_geojson([(box, c, None) for c in order]) for order in ("AB", "BA"))
    ]
    assert colours[0] == colours[1]
    assert colours[0]["A"] != colours[0]["B"]


@pytest.mark.parametrize("far", ["1e308", "-1e308", "1e10", "2000000000"])
def test_a_corner_beyond_every_slide_is_refused(tmp_path: Path, far: str) -> None:
    """Its square would overflow; no slide has a thousand million pixels a side."""
    ring = f"[[0, 0], [{far}, 0], [10, 10], [0, 0]]"
    text = f'{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": [{ring}]}}, "properties": {{}}}}'
    refused(tmp_path, text, "at most 1,000,000,000")
    xml = document(layer_xml(region_xml([(0, 0), (far, 0), (10, 10)])))
    refused(tmp_path, xml, "at most 1,000,000,000", "case7.xml")


@pytest.mark.parametrize("number", ["1_0", "\uff11", "0x10", "nan", "Infinity", "", "1,5"])
def test_a_corner_in_xml_is_a_number_as_tables_hold_it(tmp_path: Path, number: str) -> None:
    """What only Python takes for a number is none."""
    xml = document(layer_xml(region_xml([(0, 0), (number, 0), (10, 10)])))
    refused(tmp_path, xml, "coordinates must be finite numbers", "case7.xml")


def test_thousands_of_regions_and_negative_ones_are_read_in_seconds(tmp_path: Path) -> None:
    """2 000 outlines with a hole each take a few seconds; as many holes in every one are refused."""
    began = time.monotonic()
    side = [(0, 0), (10, 0), (10, 10), (0, 10)]
    apart = [region_xml([(x + 20 * n, y) for x, y in side]) for n in range(2000)]
    holes = [region_xml([(x / 2 + 20 * n, y / 2) for x, y in side], negative="1") for n in range(2000)]
    found = read(tmp_path, document(layer_xml(*apart, *holes)), "case7.xml")
    assert {len(region.polygons[0].holes) for region in found.regions} == {1}
    together = [region_xml(side)] * 1100 + [region_xml(side, negative="1")] * 1100
    refused(tmp_path, document(layer_xml(*together)), "in more than 1,000,000 pairs", "case7.xml")
    assert time.monotonic() - began < 20


def test_classes_that_qupath_ignores_are_left_out_with_a_note(tmp_path: Path) -> None:
    """Names that end in *, derived ones too, are no classes of anybody's."""
    names = ("Tumor", "Ignore*", "Tumor: Ignore*", "Region*: Positive", "a * b")
    found = read(tmp_path, collection(*(feature(classification={"name": name}) for name in names)))
    assert [region.class_name for region in found.regions] == ["Tumor", "a * b"]
    assert found.notes[0] == (
        "case7.geojson: 1 annotation of class 'Ignore*' left out, as QuPath itself ignores classes whose name ends in *"
    )
    assert len(found.notes) == 3


def test_names_that_no_file_can_hold_are_escaped(tmp_path: Path) -> None:
    """JSON may hold half a pair of surrogates, and control characters: they are shown as escapes."""
    text = json.dumps(collection(feature(classification={"name": "\ud800\x1b[31mA"}, name="two\nlines")))
    (region,) = read(tmp_path, text).regions
    assert (region.class_name, region.name) == ("\\ud800\\x1b[31mA", "two lines")
