"""Which h5 file is whose: kdtrain/sources/feature_names.py."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from kdtrain.errors import UsageError
from kdtrain.sources.feature_names import feature_files, match, nearly, slide_stem


def files(*names: str) -> list[Path]:
    """Paths of one folder; nothing is read."""
    return [Path("features") / name for name in names]


@pytest.mark.parametrize(
    ("slide", "file"),
    [
        ("case7.svs", "case7.h5"),
        ("case7.svs", "case7.svs.h5"),
        ("case.ome.tif", "case.h5"),
        ("case.ome.tif", "case.ome.h5"),
        ("TCGA-A1.0F2E.svs", "TCGA-A1.0F2E.h5"),
        ("1.2.840.10008", "1.2.840.10008.h5"),
        ("S12", "S12.h5"),
        (unicodedata.normalize("NFC", "Müller.svs"), unicodedata.normalize("NFD", "Müller.h5")),
        ("latin\\xe9.tif", os.fsdecode(b"latin\xe9.h5")),
        ("bell\\x07.svs", "bell\x07.h5"),
    ],
)
def test_a_file_is_called_as_its_slide(slide: str, file: str) -> None:
    """With or without the slide's suffix, however accents are composed and bytes that are no UTF-8 are spelled."""
    assert match(files(file), [slide]).files == {slide: Path("features") / file}


@pytest.mark.parametrize("file", ["Case7.h5", "case7_patches.h5", "case.h5", "case77.h5"])
def test_another_name_is_another_slide(file: str) -> None:
    """Nothing is guessed: such a file is spare, and the slide has none."""
    found = match(files(file), ["case7.svs"])
    assert (found.files, found.without, found.spare) == ({}, ("case7.svs",), (file,))


def test_two_files_of_a_slide_are_refused() -> None:
    """Which of them it is of cannot be known."""
    with pytest.raises(UsageError, match=r"'a.svs' has 2 files of features, 'a.svs.h5', 'a.h5' .* keep one"):
        match(files("a.h5", "a.svs.h5"), ["a.svs"])


def test_a_file_of_two_slides_is_refused() -> None:
    """a.svs and a.ndpi are two slides, and TRIDENT would call the features of both a.h5."""
    with pytest.raises(UsageError, match=r"a.h5 fits 2 slides, 'a.svs', 'a.ndpi', .* such as a.svs.h5"):
        match(files("a.h5"), ["a.svs", "a.ndpi"])


def test_the_whole_name_tells_two_slides_apart() -> None:
    """With their suffixes in them, both have features of their own."""
    found = match(files("a.svs.h5", "a.ndpi.h5"), ["a.svs", "a.ndpi"]).files
    assert [path.name for path in found.values()] == ["a.svs.h5", "a.ndpi.h5"]


def test_likeness_is_for_hints() -> None:
    """Case and signs apart, the name is found and can be shown."""
    assert nearly("Case_7.svs", ["other.h5", "case 7.h5"]) == "case 7.h5"
    assert nearly("Case_7.svs", ["case8.h5"]) is None


def test_a_folder_without_features_is_refused(tmp_path: Path) -> None:
    """No folder, or none in it: macOS's companions, which begin with a dot, are none."""
    (tmp_path / "._a.h5").touch()
    (tmp_path / "a.pt").touch()
    with pytest.raises(UsageError, match=r"holds no \.h5 file"):
        feature_files(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        feature_files(tmp_path / "a.pt")


def test_a_stem_keeps_what_is_no_suffix() -> None:
    """As slideprep cuts names."""
    stems = [slide_stem(name) for name in ("a.1.svs", "a.ome.tiff", "1.2.840", ".svs", "a")]
    assert stems == ["a.1", "a", "1.2.840", ".svs", "a"]
