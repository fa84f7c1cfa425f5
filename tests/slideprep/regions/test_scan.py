"""Scanning a slide: regions, scale, thumbnail, and failures that stay with their slide."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.build_inputs import SCAN_SETTINGS as SETTINGS
from fixtures.build_inputs import write_slides
from fixtures.slides import picture, slide_file, write_jpeg_tiff
from slideprep.regions.layout import Layout
from slideprep.regions.scan import Scan, ScanFailure, scan_slide
from slideprep.regions.settings import ScanJob
from slideprep.slides.overview import THUMBNAIL_PX
from slideprep.storage.files import OutputError
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box


def _job(
    path: Path,
    *,
    shown: str | None = None,
    annotations: Path | None = None,
    save_masks: Path | None = None,
    **changes: Any,
) -> ScanJob:
    return ScanJob(
        file=slide_file(path),
        shown_name=shown or path.name,
        settings=SETTINGS.model_copy(update=changes),
        annotations=annotations,
        save_masks=save_masks,
    )


def _scanned(job: ScanJob) -> Scan:
    scan = scan_slide(job)
    assert isinstance(scan, Scan), scan.reason
    return scan


def _failed(job: ScanJob) -> ScanFailure:
    failure = scan_slide(job)
    assert isinstance(failure, ScanFailure)
    return failure


def _slide(folder: Path, side_px: int = 160) -> Path:
    return write_slides(folder, ["Eva.png"], side_px=side_px) / "Eva.png"


def _white_with_squares(path: Path, *squares: Box, side_px: int = 400) -> Path:
    pixels = np.full((side_px, side_px, 3), 250, np.uint8)
    for box in squares:
        pixels[box.y : box.bottom, box.x : box.right] = (150, 60, 120)
    Image.fromarray(pixels).save(path)
    return path


def _geojson(path: Path, *regions: tuple[Box, str | None, str | None]) -> Path:
    path.write_text(json.dumps(regions_geojson(regions)))
    return path


def test_a_whole_slide_is_one_region(tmp_path: Path) -> None:
    """160 px at 20x are 40 cells of 4 px; scale and thumbnail come with it."""
    scan = _scanned(_job(_slide(tmp_path)))
    assert (scan.width, scan.height, scan.scale.objective, scan.scale.objective_source) == (
        160,
        160,
        20,
        "--objective",
    )
    assert [region.layout for region in scan.regions] == [Layout(x=0, y=0, columns=40, rows=40)]
    with Image.open(io.BytesIO(scan.thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (160, 160))


def test_a_thumbnail_is_small(tmp_path: Path) -> None:
    """The longer side is at most 320 px."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(900, 300))
    with Image.open(io.BytesIO(_scanned(_job(path)).thumbnail)) as thumbnail:
        assert max(thumbnail.size) == THUMBNAIL_PX


def test_tissueloc_finds_dark_squares_in_reading_order(tmp_path: Path) -> None:
    """Two dark squares on white are two regions, each within the blur of its square."""
    squares = (Box(x=40, y=60, width=120, height=100), Box(x=240, y=220, width=100, height=140))
    scan = _scanned(_job(_white_with_squares(tmp_path / "a.png", *squares), tissue="tissueloc"))
    assert [region.index for region in scan.regions] == [0, 1]
    for region, square in zip(scan.regions, squares, strict=True):
        box = region.tissue
        found, drawn = (
            (box.x, box.y, box.right, box.bottom),
            (square.x, square.y, square.right, square.bottom),
        )
        assert max(abs(a - b) for a, b in zip(found, drawn, strict=True)) <= 4


@pytest.mark.parametrize("tissue", ["auto", "tissueloc"])
def test_a_slide_without_tissue_fails_with_a_way_out(tmp_path: Path, tissue: str) -> None:
    """An empty slide is listed, and the message says what to look at and which options there are."""
    failure = _failed(_job(_white_with_squares(tmp_path / "a.png"), tissue=tissue))
    assert failure.stage == "tissue"
    assert "'a.png'" in failure.reason
    assert "--tissue" in failure.reason


def test_a_region_that_is_too_small_is_left_out_with_its_reason(tmp_path: Path) -> None:
    """60 px at 20x are 15 px at 5x: kept in the scan, without a layout."""
    (region,) = _scanned(_job(_slide(tmp_path, side_px=60))).regions
    assert region.layout is None
    assert region.left_out is not None
    assert region.left_out.startswith("only 15 px on its shorter side at 5x")


def test_small_pieces_are_listed_and_the_smallest_counted(tmp_path: Path) -> None:
    """At 16 µm per pixel: one region, 25 pieces under 0.05 mm², of which 20 have a line, and specks in one more."""
    large = Box(x=20, y=20, width=100, height=100)
    small = [
        Box(x=20 + 36 * (n % 10), y=160 + 40 * (n // 10), width=10 + n // 13, height=10) for n in range(25)
    ]
    specks = [Box(x=340, y=40, width=3, height=3), Box(x=370, y=40, width=3, height=3)]
    path = _white_with_squares(tmp_path / "a.png", large, *small, *specks)
    scan = _scanned(_job(path, tissue="auto", mpp=16.0))
    assert len(scan.regions) == 1
    listed = [piece for piece in scan.left_out if piece.box is not None]
    assert len(listed) == 20
    assert {
        piece.box.area_px > 0 and piece.reason.endswith("smaller than 0.05 mm²")
        for piece in listed
        if piece.box
    } == {True}
    assert [piece.reason.split(",")[0] for piece in scan.left_out[20:]] == [
        "5 more pieces of stained tissue",
        "2 stained specks under 0.01 mm²",
    ]


def test_a_slide_of_small_pieces_alone_says_what_was_left_out(tmp_path: Path) -> None:
    """Where nothing is large enough, the failure names the largest piece and the rule."""
    path = _white_with_squares(tmp_path / "a.png", Box(x=100, y=100, width=12, height=10))
    failure = _failed(_job(path, tissue="auto", mpp=16.0))
    assert "mm² of stained tissue at (" in failure.reason
    assert failure.reason.endswith("smaller than 0.05 mm²")


def test_annotations_give_class_name_and_outline(tmp_path: Path) -> None:
    """One region per polygon; its outline is kept only where the outside is to be blanked."""
    path = _slide(tmp_path)
    drawn = _geojson(
        tmp_path / "Eva.geojson",
        (Box(x=8, y=8, width=140, height=136), "acinar", "first"),
        (Box(x=0, y=0, width=130, height=130), "Benign", None),
    )
    options: dict[str, Any] = {"tissue": "annotations", "annotations": drawn, "exclude_classes": ("Benign",)}
    (region,) = _scanned(_job(path, **options)).regions
    assert (region.class_name, region.name, region.outline) == ("acinar", "first", None)
    assert region.tissue == Box(x=8, y=8, width=140, height=136)
    (masked,) = _scanned(_job(path, mask_outside=True, **options)).regions
    assert masked.outline is not None


def test_overlapping_classes_are_warned_of(tmp_path: Path) -> None:
    """The same tissue under two labels is said, once."""
    one, other = (Box(x=0, y=0, width=150, height=side) for side in (150, 90))
    drawn = _geojson(tmp_path / "Eva.geojson", (one, "acinar", None), (other, "solid", None))
    scan = _scanned(_job(_slide(tmp_path), tissue="annotations", annotations=drawn))
    assert len([warning for warning in scan.warnings if "overlap" in warning]) == 1


def test_an_annotation_outside_the_slide_fails_the_slide(tmp_path: Path) -> None:
    """Annotations of another slide are not quietly dropped."""
    drawn = _geojson(tmp_path / "Eva.geojson", (Box(x=500, y=500, width=9, height=9), "acinar", None))
    failure = _failed(_job(_slide(tmp_path), tissue="annotations", annotations=drawn))
    assert "lies outside the slide" in failure.reason


@pytest.mark.parametrize(
    ("changes", "stage", "words"),
    [
        ({"objective": None}, "magnification", "pass --objective 20"),
        ({"objective": 5.0}, "magnification", "never upsampled"),
        ({"tissue": "annotations"}, "tissue", "folder of --annotations"),
    ],
)
def test_a_failure_says_at_which_stage_and_what_to_do(
    tmp_path: Path, changes: dict[str, Any], stage: str, words: str
) -> None:
    """A slide without magnification, or too coarse, or without annotations, is listed and not raised."""
    failure = _failed(_job(_slide(tmp_path), **changes))
    assert (failure.stage, failure.fingerprint is not None) == (stage, True)
    assert words in failure.reason


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_a_file_that_is_no_slide_fails_to_open(tmp_path: Path, content: bytes) -> None:
    """Zero bytes and text are failures of the stage 'open'."""
    (tmp_path / "a.svs").write_bytes(content)
    assert _failed(_job(tmp_path / "a.svs")).stage == "open"


def test_a_missing_file_fails_to_open(tmp_path: Path) -> None:
    """A slide that vanished since it was found is a failure, not a crash."""
    assert "a.svs" in _failed(_job(tmp_path / "a.svs")).reason


def test_masks_are_saved_as_png(tmp_path: Path) -> None:
    """White is tissue; the file is called like the slide."""
    path = _white_with_squares(tmp_path / "a.png", Box(x=40, y=60, width=120, height=100))
    _scanned(_job(path, tissue="tissueloc", save_masks=tmp_path / "masks"))
    with Image.open(tmp_path / "masks" / "a.png.png") as mask:
        values = np.asarray(mask)
    assert values.shape == (400, 400)
    assert set(np.unique(values)) == {0, 255}
    assert values[100, 100] == 255


def test_a_mask_that_cannot_be_saved_is_not_the_slides_fault(tmp_path: Path) -> None:
    """A file in the place of the folder stops the run instead of failing every slide."""
    (tmp_path / "masks").touch()
    path = _white_with_squares(tmp_path / "a.png", Box(x=40, y=60, width=120, height=100))
    with pytest.raises(OutputError, match="masks"):
        scan_slide(_job(path, tissue="tissueloc", save_masks=tmp_path / "masks"))


def test_a_pseudonymised_scan_names_nobody(tmp_path: Path) -> None:
    """Names of the slide, its annotation file and its annotations stay outside; classes and numbers stay."""
    box = Box(x=0, y=0, width=150, height=150)
    drawn = _geojson(tmp_path / "Eva.geojson", (box, "acinar", "Eva's gland"), (box, "solid", None))
    job = _job(
        _slide(tmp_path), shown="slide-aaa", tissue="annotations", annotations=drawn, mask_outside=True
    )
    scan = _scanned(job)
    assert [region.class_name for region in scan.regions] == ["acinar", "solid"]
    assert len(scan.warnings) == 1
    assert "Eva" not in repr(replace(scan, thumbnail=b""))
    drawn.write_text("{")
    assert "Eva" not in _failed(job).reason
    (tmp_path / "Eva.png").write_bytes(b"")
    assert "Eva" not in _failed(job).reason


def test_a_slide_without_tissue_can_be_looked_at(tmp_path: Path) -> None:
    """A slide that opens but has no tissue fails with a picture of itself; one that does not open has none."""
    Image.fromarray(np.full((256, 320, 3), 240, dtype=np.uint8)).save(tmp_path / "empty.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    empty, broken = (_failed(_job(tmp_path / name, tissue="auto")) for name in ("empty.png", "broken.png"))
    assert empty.stage == "tissue"
    assert empty.thumbnail is not None
    assert Image.open(io.BytesIO(empty.thumbnail)).size == (320, 256)
    assert broken.thumbnail is None
