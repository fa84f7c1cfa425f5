"""Finding slides in an object store: the same ones, with the same files, as in a folder on disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.buckets import empty_memory
from fixtures.slides import picture, write_dicom
from slideprep.building.prepare import total_bytes
from slideprep.errors import UsageError
from slideprep.labels.table import read_labels
from slideprep.slides.discover import find_slides
from slideprep.slides.files import SlideFile
from slideprep.slides.fingerprint import PIECE_BYTES, WHOLE_LIMIT_BYTES, fingerprint
from slideprep.storage import remote
from slideprep.storage.places import Url

ARCHIVE = Url("memory://archive/slides")


@pytest.fixture(autouse=True)
def _empty() -> None:
    empty_memory()


def _copy(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            remote.write_bytes(ARCHIVE / path.relative_to(folder).as_posix(), path.read_bytes())


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def _found(slides: Sequence[SlideFile], folder: Path) -> list[tuple[str, str, list[str]]]:
    """Name, file to open and all files of each slide, relative to where they were looked for."""
    roots = (f"{folder.resolve()}/", f"{ARCHIVE}/")

    def relative(place: object) -> str:
        text = str(place)
        for root in roots:
            text = text.removeprefix(root)
        return text

    return [
        (slide.name, relative(slide.places[0]), sorted(map(relative, slide.places[1:]))) for slide in slides
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bit of everything, on disk and in the store."""
    root = tmp_path / "slides"
    _write(
        root, "b/c.NDPI", "a.svs", ".x.svs", ".hidden/y.svs", "notes.txt", "m/x.mrxs", "m/x/Slidedat.ini",
        "m/x/Data0000.dat", "m/x/preview.jpg", "y.jpg", "v/s.jpg", "v/s_map.jpg", "v/other.jpg", "z.dcm",
    )  # fmt: skip
    (root / "v/s.vms").write_text(  # lines end as the scanner's do
        "[Virtual Microscope Specimen]\r\nImageFile=s.jpg\r\nMapFile=s_map.jpg\r\nNone=gone.jpg\r\n"
    )
    (root / "series").mkdir()
    write_dicom(root / "series/1.dcm", picture(128, 64))
    write_dicom(root / "series/2.dcm", picture(64, 32))
    _copy(root)
    return root


def test_a_folder_in_a_store_holds_the_slides_of_the_same_folder_on_disk(folder: Path) -> None:
    """Names, files to open, companions, series and what is rejected are the same."""
    slides, rejected = find_slides([ARCHIVE])
    expected, expected_rejected = find_slides([folder])
    assert _found(slides, folder) == _found(expected, folder)
    assert [slide.name for slide in slides] == [
        "a.svs",
        "c.NDPI",
        "other.jpg",
        "s.vms",
        "series",
        "x.mrxs",
        "y.jpg",
    ]
    assert [item.path for item in rejected] == [ARCHIVE / "z.dcm"]
    assert len(expected_rejected) == 1
    assert str(ARCHIVE / "z.dcm") in rejected[0].reason


def test_sizes_and_fingerprints_are_those_of_the_files(folder: Path) -> None:
    """What a slide weighs and what its content is does not depend on where it lies."""
    local = {slide.name: slide for slide in find_slides([folder])[0]}
    for slide in find_slides([ARCHIVE])[0]:
        assert total_bytes(slide) == total_bytes(local[slide.name])
        assert fingerprint(slide) == fingerprint(local[slide.name])


def test_of_a_large_slide_only_pieces_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fingerprint is that of the copy on disk, from sixteen ranges."""
    path = tmp_path / "large.svs"
    data = bytearray(WHOLE_LIMIT_BYTES + PIECE_BYTES)
    data[:8], data[-8:] = b"beginning"[:8], b"the end."
    path.write_bytes(data)
    remote.write_bytes(ARCHIVE / "large.svs", bytes(data))
    ranges: list[tuple[int, int]] = []
    read_range = remote.read_range

    def noting(url: Url, start: int, stop: int) -> bytes:
        ranges.append((start, stop))
        return read_range(url, start, stop)

    monkeypatch.setattr(remote, "read_range", noting)
    (slide,), _ = find_slides([ARCHIVE / "large.svs"])
    assert fingerprint(slide) == fingerprint(SlideFile(name="large.svs", path=path, files=(path,)))
    assert len(ranges) == 16
    assert sum(stop - start for start, stop in ranges) == 16 * PIECE_BYTES


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["*.svs"], ["a.svs"]),
        (["b"], ["c.NDPI"]),
        (["a.svs", "m/x.mrxs"], ["a.svs", "x.mrxs"]),
        (["a.svs", "a.svs", "*"], ["a.svs", "c.NDPI", "other.jpg", "s.vms", "series", "x.mrxs", "y.jpg"]),
        (["series/2.dcm"], ["series"]),
        (["list.csv"], ["a.svs", "c.NDPI"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_globs_objects_and_tables_name_slides(given: list[str], names: list[str]) -> None:
    """Each once however often it is reached; one file of a series brings the whole of it."""
    remote.write_bytes(ARCHIVE / "list.csv", f"path\na.svs\n{ARCHIVE}/b/c.NDPI\n".encode())
    slides, _ = find_slides([ARCHIVE / part for part in given])
    assert [slide.name for slide in slides] == names


def test_a_local_table_may_name_addresses(folder: Path, tmp_path: Path) -> None:
    """Paths and addresses stand side by side in one column."""
    table = tmp_path / "list.csv"
    table.write_text(f"path\n{folder}/a.svs\n{ARCHIVE}/b/c.NDPI\n")
    assert [slide.name for slide in find_slides([table])[0]] == ["a.svs", "c.NDPI"]


def test_many_objects_of_one_folder_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of a hundred slides costs a listing, not a hundred requests."""
    names = [f"s{number:03d}.svs" for number in range(100)]
    for name in names:
        remote.write_bytes(ARCHIVE / name, name.encode())
    remote.write_bytes(ARCHIVE / "list.csv", "\n".join(["path", *names]).encode())
    monkeypatch.setattr(remote, "stat", None)
    assert [slide.name for slide in find_slides([ARCHIVE / "list.csv"])[0]] == names


def test_no_range_leaves_its_object(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files without a suffix and empty DICOM files are judged as on disk; S3 refuses to read behind their end."""
    _write(folder, "short", "b/12.3")
    (folder / "series/empty.dcm").write_bytes(b"")
    _copy(folder)
    read_range = remote.read_range

    def strict(url: Url, start: int, stop: int) -> bytes:
        assert start < stop <= remote.stat(url).bytes
        return read_range(url, start, stop)

    monkeypatch.setattr(remote, "read_range", strict)
    (slides, rejected), (expected, _) = find_slides([ARCHIVE]), find_slides([folder])
    assert _found(slides, folder) == _found(expected, folder)
    assert [item.path for item in rejected] == [ARCHIVE / "series/empty.dcm", ARCHIVE / "z.dcm"]


def test_what_is_not_there_is_named(folder: Path) -> None:
    """A typing error in an address stops the build before any work; so does a name that two places share."""
    with pytest.raises(
        UsageError, match=r"nothing to read at memory://archive/slides/gone.*check the spelling"
    ):
        find_slides([ARCHIVE / "gone", ARCHIVE / "a.svs"])
    with pytest.raises(UsageError, match=r"'a\.svs' is .*/a\.svs and memory://archive/slides/a\.svs"):
        find_slides([ARCHIVE / "a.svs", shutil.copy(folder / "a.svs", folder.parent / "a.svs")])


def test_labels_may_lie_in_a_store(tmp_path: Path) -> None:
    """The same rows as from the file on disk, and the address in complaints."""
    remote.write_bytes(ARCHIVE / "labels.csv", b"slide,label,patient\na.svs,gland,P1\n")
    assert [(row.slide, row.label) for row in read_labels(ARCHIVE / "labels.csv").rows] == [
        ("a.svs", "gland")
    ]
    with pytest.raises(
        UsageError, match=r"cannot read the labels memory://archive/slides/gone\.csv: No such file"
    ):
        read_labels(ARCHIVE / "gone.csv")
