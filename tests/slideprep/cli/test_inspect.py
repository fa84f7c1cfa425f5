"""What is said about one slide, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.slides import picture, write_dicom, write_jpeg_tiff, write_svs
from slideprep.cli.inspect import as_text, inspect_slide
from slideprep.errors import InputError, UsageError


def test_an_svs_tells_everything(tmp_path: Path) -> None:
    """Size, levels, mpp, objective and the five magnifications that 20x allows."""
    facts = inspect_slide(
        write_svs(tmp_path / "a.svs", picture(320, 256), levels=2), objective=None, mpp=None
    )
    assert (facts["slide"], facts["vendor"], facts["width"], facts["height"]) == ("a.svs", "aperio", 320, 256)
    assert [level["downsample"] for level in facts["levels"]] == [1, 2]
    assert (facts["mpp"], facts["objective"], facts["objective_source"]) == (0.5, 20, "slide")
    assert [(row["magnification"], row["factor"], row["width"]) for row in facts["magnifications"]] == [
        (10, 2, 160), (5, 4, 80), (2.5, 8, 40), (1.25, 16, 20), (0.625, 32, 10)
    ]  # fmt: skip
    assert json.loads(json.dumps(facts)) == facts


def test_the_text_for_people(tmp_path: Path) -> None:
    """One line per fact, with units."""
    path = write_svs(tmp_path / "a.svs", picture(320, 256), levels=2)
    lines = as_text(inspect_slide(path, objective=None, mpp=None)).splitlines()
    assert lines[:6] == [
        "a.svs: aperio, read by tiff-jpeg",
        "  level 0     320 x 256 px, 0.1 MP",
        "  levels      2: downsamples 1, 2",
        "  mpp         0.5 µm/px",
        "  objective   20x",
        "     10x      160 x 128 px, 2 level-0 pixels per pixel",
    ]


def test_a_derived_objective_is_said_to_be_derived(tmp_path: Path) -> None:
    """A TIFF of 0.5 µm per pixel counts as 20x, and says why."""
    facts = inspect_slide(
        write_jpeg_tiff(tmp_path / "a.tif", picture(128, 128), mpp=0.5), objective=None, mpp=None
    )
    assert facts["objective_source"] == "derived from mpp"
    assert "  objective   20x (derived from mpp)" in as_text(facts).splitlines()


def test_an_unknown_magnification_is_a_warning_with_the_remedy(tmp_path: Path) -> None:
    """Inspecting never fails for lack of a tag; with the option, the magnifications are there."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(128, 128))
    facts = inspect_slide(path, objective=None, mpp=None)
    assert facts["magnifications"] is None
    assert "  objective   unknown" in as_text(facts).splitlines()
    assert "warning" in as_text(facts)
    assert "--objective 20" in as_text(facts)
    assert len(inspect_slide(path, objective=20, mpp=None)["magnifications"]) == 5


def test_magnifications_beyond_the_scan_are_not_offered(tmp_path: Path) -> None:
    """A 5x scan offers 5x and below."""
    path = write_svs(tmp_path / "a.svs", picture(128, 128), objective=5, mpp=2.0)
    facts = inspect_slide(path, objective=None, mpp=None)
    assert [row["magnification"] for row in facts["magnifications"]] == [5, 2.5, 1.25, 0.625]


def test_a_disagreement_is_told(tmp_path: Path) -> None:
    """20x at 0.25 µm per pixel is 40x physically."""
    path = write_svs(tmp_path / "a.svs", picture(128, 128), objective=20, mpp=0.25)
    assert any(
        "differ by 50%" in warning for warning in inspect_slide(path, objective=None, mpp=None)["warnings"]
    )


def test_a_folder_of_one_dicom_series_is_one_slide(tmp_path: Path) -> None:
    """The series is named by its folder."""
    (tmp_path / "series").mkdir()
    for width in (128, 64):
        write_dicom(tmp_path / "series" / f"{width}.dcm", picture(width, width), mpp=64 / width)
    facts = inspect_slide(tmp_path / "series", objective=None, mpp=None)
    assert (facts["slide"], facts["files"], facts["vendor"]) == ("series", 2, "dicom")


def test_one_slide_at_a_time(tmp_path: Path) -> None:
    """A folder of two slides is wrong usage."""
    for name in ("a.svs", "b.svs"):
        write_svs(tmp_path / name, picture(64, 64))
    with pytest.raises(UsageError, match="holds 2 slides"):
        inspect_slide(tmp_path, objective=None, mpp=None)


def test_missing_and_broken_files_are_told_apart(tmp_path: Path) -> None:
    """A path that does not exist is wrong usage; a file that cannot be opened is an input error."""
    with pytest.raises(UsageError, match="no such file"):
        inspect_slide(tmp_path / "none.svs", objective=None, mpp=None)
    (tmp_path / "a.svs").touch()
    with pytest.raises(InputError, match="empty"):
        inspect_slide(tmp_path / "a.svs", objective=None, mpp=None)
