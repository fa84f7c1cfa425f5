"""DICOM series: grouping, and colour tags that contradict the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.real_data import DATA
from fixtures.slides import jpeg, picture, slide_file, with_adobe_rgb, write_dicom
from slideprep.errors import InputError, SlideOpenError
from slideprep.slides.dicom import Instance, group_series, read_instance
from slideprep.slides.discover import find_slides
from slideprep.slides.files import SlideFile
from slideprep.slides.overview import read_level, read_overview
from slideprep.slides.readers.choose import open_reader
from slideprep.slides.readers.dicom_colours import stated_colours

PICTURE = picture(150, 130)
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def _marked(marker: bytes, data: bytes) -> bytes:
    return data[:2] + marker + data[2:]


@pytest.mark.parametrize(
    ("data", "colours"),
    [
        (_marked(JFIF, jpeg(PICTURE)), "ycbcr"),
        (with_adobe_rgb(jpeg(PICTURE, "rgb")), "rgb"),
        (_marked(b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01", jpeg(PICTURE)), "ycbcr"),
        (jpeg(PICTURE, subsampling="420"), "ycbcr"),
        (jpeg(PICTURE), None),
        (b"", None),
        (b"\xff\xd8\xff", None),
        (b"no jpeg at all", None),
    ],
    ids=["JFIF", "Adobe 0", "Adobe 1", "subsampled", "silent", "empty", "cut off", "other"],
)
def test_what_a_jpeg_says_of_its_colours(data: bytes, colours: str | None) -> None:
    """JFIF, the Adobe transform and subsampled chroma each tell; a JPEG with none of them tells nothing."""
    assert stated_colours(data) == colours


def test_component_names_tell_rgb() -> None:
    """Components named R, G and B are RGB."""
    data = bytearray(jpeg(PICTURE, "rgb"))
    frame = data.index(b"\xff\xc0")
    for index, name in enumerate(b"RGB"):
        data[frame + 10 + 3 * index] = name
    assert stated_colours(bytes(data)) == "rgb"


@pytest.mark.parametrize(
    ("tag", "frames", "corrected"),
    [("RGB", "rgb", False), ("RGB", "ycbcr", True), ("YBR_FULL_422", "ycbcr", False)],
)
def test_colours_are_the_frames(tmp_path: Path, tag: str, frames: str, corrected: bool) -> None:
    """Whatever the tag says, the pixels are the picture's; a correction is warned of, and only a correction."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE, tag=tag, frames=frames, subsampling="420")  # type: ignore[arg-type]
    with open_reader(slide_file(path)) as slide:
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5
        assert [w.startswith("The colour tag says RGB") for w in slide.warnings] == [True] * corrected


def test_rgb_frames_tagged_ybr_are_refused(tmp_path: Path) -> None:
    """OpenSlide would convert RGB frames once more and clip them: refused, with the tag to set."""
    path = write_dicom(tmp_path / "a.dcm", PICTURE, tag="YBR_FULL_422", frames="rgb")
    with pytest.raises(SlideOpenError, match=r"'a.dcm'.*tagged YBR.*\(0028,0004\) of that file to RGB"):
        open_reader(slide_file(path))


def test_each_level_is_judged_by_its_own_file(tmp_path: Path) -> None:
    """A series whose coarse level alone is wrongly tagged has that level corrected and the other left alone."""
    fine = write_dicom(tmp_path / "0.dcm", PICTURE)
    coarse = write_dicom(tmp_path / "1.dcm", PICTURE[::2, ::2], frames="ycbcr", subsampling="420", mpp=1.0)
    with open_reader(slide_file(fine, coarse)) as slide:
        assert "1 of 2 levels" in slide.warnings[0]
        assert np.abs(read_level(slide, 0).astype(int) - PICTURE).mean() < 1.5
        assert np.abs(read_level(slide, 1).astype(int) - PICTURE[::2, ::2]).mean() < 3


def test_one_series_is_one_slide() -> None:
    """The largest pyramid file is opened, label and thumbnail do not count, series without a pyramid are given back."""

    def instance(path: str, series: str, flavour: str, width: int) -> Instance:
        return Instance(path=Path(path), series=series, flavour=flavour, width=width, height=10)

    small, large = instance("a", "1.1", "VOLUME", 10), instance("b", "1.1", "VOLUME", 20)
    label, lonely = instance("c", "1.1", "LABEL", 99), instance("d", "1.2", "THUMBNAIL", 5)
    series, rest = group_series([lonely, label, large, small])
    assert [(s.uid, s.primary, s.files) for s in series] == [("1.1", Path("b"), (Path("a"), Path("b")))]
    assert rest == [lonely]


def test_other_dicom_is_no_slide(tmp_path: Path) -> None:
    """A CT image and a text file named .dcm are refused with what they are."""
    ct = write_dicom(tmp_path / "ct.dcm", PICTURE, sop_class="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(InputError, match=r"not a whole-slide image \(CT Image Storage"):
        read_instance(ct)
    (tmp_path / "text.dcm").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_instance(tmp_path / "text.dcm")


@pytest.fixture
def real_twins():  # type: ignore[no-untyped-def]
    """The same region as SVS and as DICOM series."""
    folder = DATA / "slides"
    svs, dicom = folder / "CMU-1-Small-Region.svs", folder / "cmu-1-small-region_dicom"
    if not (svs.is_file() and dicom.is_dir()):
        pytest.skip(f"{svs} and {dicom.name} are not there; set SLIDEPREP_DATA to the folder of real slides")
    (of_svs,), (of_dicom,) = find_slides([svs])[0], find_slides([dicom])[0]
    with open_reader(of_svs) as a, open_reader(of_dicom) as b:
        yield a, b


def test_real_dicom_twin_is_corrected(real_twins) -> None:  # type: ignore[no-untyped-def]
    """The real series, YCbCr tagged RGB, differs from the SVS of the same slide by at most 5 grey levels on average."""
    svs, dicom = real_twins
    assert (len(dicom.levels), dicom.mpp, dicom.objective) == (12, 0.499, None)
    assert "12 of 12 levels" in dicom.warnings[0]
    assert np.abs(read_level(svs, 0).astype(int) - read_level(dicom, 0)).mean() <= 5


def test_real_twins_have_the_same_overview_grid(real_twins) -> None:  # type: ignore[no-untyped-def]
    """One level or twelve, the overview's pixels cover the same places and show nearly the same colours."""
    svs, dicom = (read_overview(slide, downsample=16) for slide in real_twins)
    assert (svs.image.shape, svs.downsample_x, svs.downsample_y) == (
        dicom.image.shape,
        dicom.downsample_x,
        dicom.downsample_y,
    )
    assert abs(float(svs.image.mean()) - float(dicom.image.mean())) < 1


@pytest.mark.parametrize("left", [0, 100, 140, 200, 340, 500])
def test_a_series_without_its_finest_level_is_refused(tmp_path: Path, left: int) -> None:
    """Wherever level 0 was cut off, level 1 does not pass for it: the slide is refused by the damaged file's name."""
    fine = write_dicom(tmp_path / "fine.dcm", PICTURE)
    write_dicom(tmp_path / "coarse.dcm", PICTURE[::2, ::2], mpp=1.0)
    fine.write_bytes(fine.read_bytes()[:left])
    (slide,), rejected = find_slides([tmp_path])
    assert [r.path.name for r in rejected] == ["fine.dcm"]
    with pytest.raises(SlideOpenError, match=r"fine\.dcm .*a coarser level would take"):
        open_reader(slide)


def test_a_level_that_openslide_does_not_find_is_refused(tmp_path: Path) -> None:
    """OpenSlide takes the largest level that it can read for level 0; where a larger one is there, it is refused."""
    (tmp_path / "elsewhere").mkdir()
    fine = write_dicom(tmp_path / "elsewhere/fine.dcm", PICTURE)
    coarse = write_dicom(tmp_path / "coarse.dcm", PICTURE[::2, ::2], mpp=1.0)
    with pytest.raises(
        SlideOpenError, match=r"150 x 130 px, but OpenSlide can read none larger than 75 x 65"
    ):
        open_reader(SlideFile(name="a", path=coarse, files=(coarse, fine)))
