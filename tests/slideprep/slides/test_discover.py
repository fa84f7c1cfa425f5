"""Finding slides: what counts as one, what it consists of, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.slides import overwrite, picture, table, write_dicom
from slideprep.errors import UsageError
from slideprep.slides.discover import find_slides, look_for_slides


def _touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return paths


def _names(*inputs: str | Path) -> list[str]:
    return [slide.name for slide in find_slides(inputs)[0]]


def test_folders_are_searched_below(tmp_path: Path) -> None:
    """All known suffixes at any depth, in any case, sorted by name; hidden files and other types are passed over."""
    _touch(
        tmp_path,
        "b/c.NDPI",
        "a.svs",
        "b/d/e.png",
        ".x.svs",
        ".hidden/y.svs",
        "notes.txt",
        "labels.csv",
        "a.geojson",
    )
    assert _names(tmp_path) == ["a.svs", "c.NDPI", "e.png"]


def test_order_does_not_depend_on_inputs(tmp_path: Path) -> None:
    """The same slides named in another order come in the same order."""
    a, b = _touch(tmp_path, "a.svs", "b.svs")
    assert find_slides([b, a]) == find_slides([a, b])


def test_a_file_reached_twice_counts_once(tmp_path: Path) -> None:
    """By folder, by name, by glob and by symbolic link: one slide, under the file's own name."""
    (path,) = _touch(tmp_path, "sub/a.svs")
    (tmp_path / "link.svs").symlink_to(path)
    (tmp_path / "loop").symlink_to(tmp_path)
    slides, _ = find_slides([tmp_path, path, f"{tmp_path}/**/*.svs"])
    assert [(s.name, s.path, s.files) for s in slides] == [("a.svs", path.resolve(), (path.resolve(),))]


def test_a_lone_link_keeps_its_name(tmp_path: Path) -> None:
    """A link into a store of unnamed files is the name the labels use."""
    (path,) = _touch(tmp_path, "store/0001.svs")
    (tmp_path / "case-a.svs").symlink_to(path)
    slides, _ = find_slides([tmp_path / "case-a.svs"])
    assert [(s.name, s.path) for s in slides] == [("case-a.svs", path.resolve())]


@pytest.mark.parametrize(
    ("pattern", "names"), [("*.svs", ["a.svs"]), ("**/*.svs", ["a.svs", "b.svs"]), ("*", ["a.svs", "b.svs"])]
)
def test_globs(tmp_path: Path, pattern: str, names: list[str]) -> None:
    """Quoted globs are expanded; a folder that a glob matches is searched, other types are passed over."""
    _touch(tmp_path, "a.svs", "sub/b.svs", "notes.txt")
    assert _names(f"{tmp_path}/{pattern}") == names


def test_brackets_in_a_real_name_are_no_glob(tmp_path: Path) -> None:
    """A file that exists under the very name given is that file."""
    _touch(tmp_path, "a[1].svs", "a1.svs")
    assert _names(f"{tmp_path}/a[1].svs") == ["a[1].svs"]


def test_missing_inputs_are_all_named(tmp_path: Path) -> None:
    """Every path that does not exist, and every glob without a slide, is in the one message."""
    _touch(tmp_path, "a.svs", "notes.txt")
    with pytest.raises(UsageError, match=r"x\.svs, .*y\*, .*\.tx\?; check"):
        find_slides([tmp_path / "a.svs", tmp_path / "x.svs", f"{tmp_path}/y*", f"{tmp_path}/*.tx?"])


def test_a_folder_without_slides_says_what_was_sought(tmp_path: Path) -> None:
    """The message lists the suffixes."""
    _touch(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match=r"holds no slide.*\.mrxs.*\.svs"):
        find_slides([tmp_path])


def test_named_files_may_have_any_suffix(tmp_path: Path) -> None:
    """What is named explicitly is taken at its word; opening it will judge."""
    (path,) = _touch(tmp_path, "slide.img")
    assert _names(path) == ["slide.img"]


def test_same_name_in_two_folders_is_refused(tmp_path: Path) -> None:
    """Two different files of one name are refused with both paths."""
    _touch(tmp_path, "one/a.svs", "two/a.svs", "two/b.svs")
    with pytest.raises(UsageError, match=r"'a\.svs' is .*one/a\.svs and .*two/a\.svs"):
        find_slides([tmp_path])


@pytest.mark.parametrize("column", ["path", "slide", "Path", " SLIDE ", "filename", "file_path"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_paths_are_relative_to_it(tmp_path: Path, column: str, separator: str) -> None:
    """A table lists slides by path, seen from where it lies; a byte order mark, semicolons or tabs do no harm."""
    _touch(tmp_path, "slides/a.svs", "slides/sub/b.svs")
    rows = [separator.join(row) for row in (["slides/a.svs", "x"], ["slides/sub", "y"])]
    listing = table(tmp_path / "list.csv", f"\ufeff{column}{separator}label", rows)
    assert _names(listing) == ["a.svs", "b.svs"]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.txt"])
@pytest.mark.parametrize("first", [["Path"], []], ids=["header", "no header"])
def test_a_text_may_list_one_slide_a_line(tmp_path: Path, name: str, first: list[str]) -> None:
    """With a header or without, blank lines between them."""
    _touch(tmp_path, "slides/a.svs", "slides/b.svs")
    header, *rows = [*first, "slides/a.svs", "", "slides/b.svs"]
    assert _names(table(tmp_path / name, header, rows)) == ["a.svs", "b.svs"]


def test_a_note_among_the_named_files_is_no_list(tmp_path: Path) -> None:
    """A text without paths is taken at its word as a slide, which opening will refuse, so that the others are built."""
    (tmp_path / "notes.txt").write_text("scanned on Monday\n")
    _touch(tmp_path, "a.svs")
    assert _names(tmp_path / "notes.txt", tmp_path / "a.svs") == ["a.svs", "notes.txt"]


def test_what_a_folder_holds_besides_is_counted(tmp_path: Path) -> None:
    """Slides of formats that nothing reads, images and archives are counted by suffix, each kind with what to do."""
    _touch(
        tmp_path, "a.svs", "b.vsi", "sub/c.VSI", "d.isyntax", "e.bmp", "f.jp2", "g.zip", "notes.txt", ".h.zip"
    )
    found = look_for_slides([tmp_path])
    assert [slide.name for slide in found.slides] == ["a.svs"]
    said = str(found.passed_over)
    assert "1 .isyntax, 2 .vsi (slides of a format that nothing here reads: export them" in said
    assert "1 .bmp, 1 .jp2 (images of a format" in said
    assert "1 .zip (archives: unpack them first)" in said


def test_nothing_besides_is_said_of_a_folder_of_slides(tmp_path: Path) -> None:
    """Notes, tables and annotations are no slides; a .qptiff is a TIFF, and read as one."""
    _touch(tmp_path, "a.svs", "b.qptiff", "notes.txt", "labels.csv", "a.geojson", "a.xml")
    found = look_for_slides([tmp_path])
    assert [slide.name for slide in found.slides] == ["a.svs", "b.qptiff"]
    assert found.passed_over is None


@pytest.mark.parametrize("pattern", ["", "/*", "/*.vsi"])
def test_a_folder_of_other_formats_says_what_is_in_it(tmp_path: Path, pattern: str) -> None:
    """Where there is no slide that can be read the error counts what there is."""
    _touch(tmp_path, "a.vsi", "b.vsi")
    with pytest.raises(UsageError, match=r"Files passed over: 2 \.vsi \(slides of a format"):
        find_slides([f"{tmp_path}{pattern}"])


def test_csv_of_names_is_explained(tmp_path: Path) -> None:
    """A table of labels whose slides lie elsewhere is refused with a count, names and what to pass instead."""
    _touch(tmp_path, "a.svs")
    listing = table(tmp_path / "labels.csv", "slide", ["a.svs", "b.svs", "c"])
    with pytest.raises(UsageError, match=r"2 of 3 slides.*b\.svs, .*c;.*--labels"):
        find_slides([listing])


@pytest.mark.parametrize(
    ("header", "rows", "says"),
    [
        ("name", ["a.svs"], "column 'path' or 'slide'"),
        ("Name;Label", ["a.svs;x"], r"first line is 'Name;Label'"),
        ("Path;label", ["a.svs;x", ";y"], "line 3 has an empty 'Path'"),
        ("slide,label", ["a.svs,x", ",y"], "line 3 has an empty 'slide'"),
        ("slide", [], "no rows"),
    ],
)
def test_unusable_csv(tmp_path: Path, header: str, rows: list[str], says: str) -> None:
    """A CSV without the column, without rows, or with an empty cell is refused with the place."""
    _touch(tmp_path, "a.svs")
    with pytest.raises(UsageError, match=says):
        find_slides([table(tmp_path / "list.csv", header, rows)])


def test_mrxs_takes_its_folder(tmp_path: Path) -> None:
    """The folder beside an MRXS belongs to it: its files are the slide's, none is a slide."""
    _touch(tmp_path, "x.mrxs", "x/Slidedat.ini", "x/Data0000.dat", "x/preview.jpg", "y.jpg")
    slides, _ = find_slides([tmp_path])
    assert [s.name for s in slides] == ["x.mrxs", "y.jpg"]
    assert sorted(f.name for f in slides[0].files) == [
        "Data0000.dat",
        "Slidedat.ini",
        "preview.jpg",
        "x.mrxs",
    ]


def test_vms_takes_the_images_it_names(tmp_path: Path) -> None:
    """JPEG files that a VMS names are parts of it, even when only they are asked for; others stay slides."""
    _touch(tmp_path, "s.jpg", "s(1,0).jpg", "s_map.jpg", "s.opt", "other.jpg")
    (tmp_path / "s.vms").write_text(
        "[Virtual Microscope Specimen]\r\nNoLayers=1\r\nImageFile=s.jpg\r\nImageFile(1,0)=s(1,0).jpg\r\n"
        "MapFile=s_map.jpg\r\nOptimisationFile=s.opt\r\nMacroImage=absent.jpg\r\n"
    )
    slides, _ = find_slides([tmp_path])
    assert [s.name for s in slides] == ["other.jpg", "s.vms"]
    assert sorted(f.name for f in slides[1].files) == ["s(1,0).jpg", "s.jpg", "s.opt", "s.vms", "s_map.jpg"]
    assert _names(f"{tmp_path}/*.jpg") == ["other.jpg"]


def test_dicom_series_is_one_slide(tmp_path: Path) -> None:
    """A folder of pyramid, label and thumbnail files is one slide named like the folder, largest level opened."""
    folder = tmp_path / "case 7"
    folder.mkdir()
    fine = write_dicom(folder / "b.dcm", picture(150, 130))
    coarse = write_dicom(folder / "1.2.3", picture(75, 65))
    write_dicom(folder / "label.dcm", picture(200, 200), flavour="LABEL")
    slides, rejected = find_slides([tmp_path])
    assert [(s.name, s.path, s.files) for s in slides] == [
        ("case 7", fine.resolve(), (coarse.resolve(), fine.resolve()))
    ]
    assert rejected == []
    assert find_slides([coarse]) == find_slides([fine]) == (slides, [])


def test_dicom_series_sharing_a_folder_are_told_apart(tmp_path: Path) -> None:
    """Two series in one folder get the end of their UID in the name; naming one file does not bring in the other."""
    first = write_dicom(tmp_path / "a.dcm", picture(80, 80), series="1.2.11111111")
    write_dicom(tmp_path / "b.dcm", picture(80, 80), series="1.2.22222222")
    assert _names(tmp_path) == [f"{tmp_path.name}-11111111", f"{tmp_path.name}-22222222"]
    assert _names(first) == [tmp_path.name]


def test_a_damaged_level_refuses_its_whole_series(tmp_path: Path) -> None:
    """A damaged file belongs to the series whose UID it holds, else to every one beside it, named singly or not."""
    first = write_dicom(tmp_path / "a.dcm", picture(80, 80), series="1.2.1")
    second = write_dicom(tmp_path / "b.dcm", picture(80, 80), series="1.2.11")
    (tmp_path / "elsewhere").mkdir()
    other = write_dicom(tmp_path / "elsewhere/c.dcm", picture(80, 80), series="1.2.3")
    named = tmp_path / "d.dcm"
    named.write_bytes(b"damaged, of series 1.2.11")
    files = {slide.path.name: slide.files for slide in find_slides([tmp_path])[0]}
    assert files == {"a.dcm": (first,), "b.dcm": (second, named), "c.dcm": (other,)}
    named.write_bytes(b"")
    files = {slide.path.name: slide.files for slide in find_slides([tmp_path])[0]}
    assert files == {"a.dcm": (first, named), "b.dcm": (second, named), "c.dcm": (other,)}
    assert [slide.files for slide in find_slides([first])[0]] == [(first, named)]


def test_another_kind_of_dicom_is_no_level(tmp_path: Path) -> None:
    """An annotation that speaks of a slide's series leaves it alone; a level does not, though its kind was damaged."""
    slide = write_dicom(tmp_path / "a.dcm", picture(80, 80), series="1.2.1")
    beside = write_dicom(
        tmp_path / "b.dcm", picture(80, 80), series="1.2.2", sop_class="1.2.840.10008.5.1.4.1.1.91.1"
    )
    assert b"1.2.1" not in beside.read_bytes()
    overwrite(beside, 0, b"about 1.2.1 ")
    assert [s.files for s in find_slides([tmp_path])[0]] == [(slide,)]
    damaged = write_dicom(
        tmp_path / "b.dcm", picture(80, 80), series="1.2.1", sop_class="1.2.840.10008.5.1.4.1.1.2"
    )
    assert [s.files for s in find_slides([tmp_path])[0]] == [(slide, damaged)]


def test_unusable_dicom_is_rejected_not_fatal(tmp_path: Path) -> None:
    """Damaged DICOM, other modalities and a series without a pyramid are listed with reasons; slides stay."""
    _touch(tmp_path, "a.svs", "broken.dcm")
    write_dicom(tmp_path / "ct.dcm", picture(64, 64), sop_class="1.2.840.10008.5.1.4.1.1.2", series="1.2.5")
    write_dicom(tmp_path / "label.dcm", picture(64, 64), flavour="LABEL", series="1.2.6")
    slides, rejected = find_slides([tmp_path])
    assert [s.name for s in slides] == ["a.svs"]
    assert [r.path.name for r in rejected] == ["broken.dcm", "ct.dcm", "label.dcm"]
    for reject, reason in zip(
        rejected, ["cannot be read as DICOM", "not a whole-slide image", "only LABEL"], strict=True
    ):
        assert reason in reject.reason
