"""The detector on painted overviews (16 µm per pixel, glass at 240) and on real tissue."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy import ndimage

from fixtures.painted import (
    EOSIN,
    HAEMATOXYLIN,
    INKS,
    SHAPE,
    Mask,
    Picture,
    disc,
    finished,
    glass,
    stain,
    stroke,
)
from fixtures.real_data import DATA
from slideprep.errors import TissueError, UsageError
from slideprep.tissue.auto import OVERVIEW_MPP, auto_mask, auto_regions
from slideprep.tissue.padding import black_padding
from slideprep.tissue.settings import AutoTissue
from slideprep.tissue.stain import stain_signal
from slideprep.units import Box

MPP = OVERVIEW_MPP
SVS = DATA / "slides" / "CMU-1-Small-Region.svs"
DICOM = DATA / "slides" / "cmu-1-small-region_dicom"
FIELDS = DATA / "osteosarcoma-10x"


def found(image: Picture, settings: AutoTissue | None = None) -> Mask:
    """The detector's mask of a painted overview."""
    return auto_mask(image, mpp_overview=MPP, settings=settings).mask


def boxes(mask: Mask, settings: AutoTissue | None = None) -> list[Box]:
    """The regions of a mask, in overview pixels."""
    rows, columns = mask.shape
    return auto_regions(
        mask,
        mpp_overview=MPP,
        downsample_x=1,
        downsample_y=1,
        width_l0=columns,
        height_l0=rows,
        settings=settings,
    )


def iou(a: Mask, b: Mask) -> float:
    """Common part over union of two masks."""
    return float((a & b).sum() / (a | b).sum())


def uneven(shape: tuple[int, int] = SHAPE) -> npt.NDArray[np.float64]:
    """Illumination: 1 amid the image, 8 % less in the corners, and a slope of 3 %."""
    y, x = np.linspace(-1, 1, shape[0])[:, None, None], np.linspace(-1, 1, shape[1])[None, :, None]
    return 1 - 0.04 * (x * x + y * y) + 0.015 * x


TISSUE = disc(110, 120, 60) | disc(190, 290, 70)


@pytest.mark.parametrize(
    "absorbance", [EOSIN, HAEMATOXYLIN, (0.9, 1.6, 0.8)], ids=["eosin", "haematoxylin", "dark"]
)
def test_finds_stained_tissue(absorbance: tuple[float, float, float]) -> None:
    """Well-stained pieces are found to within the width of the smoothing, whatever the stain."""
    picture = glass()
    stain(picture, TISSUE, absorbance)
    assert iou(found(finished(picture)), TISSUE) > 0.9


@pytest.mark.parametrize("green", [0.03, 0.04, 0.06])
def test_finds_pale_tissue(green: float) -> None:
    """Tissue that darkens only green, by 3 to 6 %, is found, also under uneven light and a greyish yellow cast."""
    for picture in (glass(), glass(colour=(226, 224, 208)) * uneven()):
        stain(picture, TISSUE, (0.25 * green, green, 0.5 * green))
        mask = found(finished(picture))
        assert (mask & TISSUE).sum() > 0.9 * TISSUE.sum()
        assert (mask & ~TISSUE).sum() < 0.1 * TISSUE.sum()


@pytest.mark.parametrize("level", [150, 200, 240, 252])
@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_finds_nothing_on_an_empty_slide(level: int, noise: float) -> None:
    """Glass alone gives no tissue: dim or bright, with a cast, uneven light, and up to 3 grey levels of noise."""
    picture = glass(colour=(level, level - 1, level - 8)) * uneven()
    assert not found(finished(picture, noise=noise)).any()


def test_finds_tissue_that_fills_the_image() -> None:
    """Without any glass in sight, stained pixels are all tissue, and the result says so."""
    picture = glass((64, 64))
    stain(picture, np.ones((64, 64), dtype=bool), EOSIN)
    result = auto_mask(finished(picture), mpp_overview=MPP)
    assert result.mask.mean() > 0.99
    assert result.notes == ("no glass seen: taken to be filled with tissue",)


def test_finds_fat() -> None:
    """Fat, thin membranes around empty cells of 96 µm, is one piece of tissue, not a web."""
    picture, web = glass(), np.zeros(SHAPE, dtype=bool)
    web[::6], web[:, ::6] = True, True
    fat = disc(150, 200, 80)
    stain(picture, web & fat, EOSIN)
    assert (found(finished(picture)) & fat).sum() > 0.95 * fat.sum()


@pytest.mark.parametrize("ink", INKS)
def test_leaves_ink_out(ink: str) -> None:
    """A marker stroke, a ring and a dot beside tissue are left out in all four colours, and the tissue stays."""
    picture = glass()
    stain(picture, TISSUE, EOSIN)
    marks = stroke((20, 220), (90, 380), 12) | (disc(240, 90, 40) & ~disc(240, 90, 30)) | disc(280, 200, 9)
    picture[marks] = INKS[ink]
    image = finished(ndimage.gaussian_filter(picture, (1, 1, 0)))
    mask = found(image)
    assert not (mask & marks).any()
    assert iou(mask, TISSUE) > 0.9


def test_leaves_pale_streaky_ink_out() -> None:
    """Ink that lets half of the light through, unevenly, is told by its hue as well."""
    picture = glass()
    marks = stroke((20, 40), (40, 360), 14)
    stain(picture, marks, (0.75, 0.45, 0.12))
    stain(picture, TISSUE, HAEMATOXYLIN)
    mask = found(finished(picture))
    assert not (mask & marks).any()
    assert iou(mask, TISSUE) > 0.9


def test_leaves_ink_between_two_pieces_out() -> None:
    """A stroke with tissue on both sides is ink all the same, and does not join the two to the image's border."""
    picture, pieces = glass(), disc(110, 120, 60) | disc(110, 270, 60)
    stain(picture, pieces, EOSIN)
    mark = stroke((0, 185), (120, 198), 10)
    picture[mark] = INKS["green"]
    mask = found(finished(ndimage.gaussian_filter(picture, (1, 1, 0))))
    assert not (mask & mark).any()
    assert len(boxes(mask)) == 2
    assert min(box.y for box in boxes(mask)) > 40


def test_ignores_jpeg_ringing() -> None:
    """A strongly compressed overview, chroma halved, moves no side of a box by more than two pixels."""
    picture = glass()
    stain(picture, TISSUE, HAEMATOXYLIN)
    image = finished(picture)
    assert _farthest(boxes(found(image)), boxes(found(_as_jpeg(image, quality=60, subsampling=2)))) <= 2


def test_keeps_dark_and_red_spots_within_tissue() -> None:
    """Pigment and blood amid tissue are ink-coloured, and stay."""
    for colour in (INKS["black"], INKS["red"]):
        picture, pieces = glass(), disc(150, 200, 80)
        stain(picture, pieces, EOSIN)
        picture[disc(150, 200, 20)] = colour
        assert found(finished(picture), AutoTissue(fill_holes=False))[disc(150, 200, 18)].all()


@pytest.mark.parametrize(
    "shade", [(120, 120, 122), (190, 190, 190), (190, 150, 165)], ids=["dark", "grey", "pink"]
)
def test_leaves_edges_out(shade: tuple[int, int, int]) -> None:
    """The edge of a coverslip, thin, long and slanted, is left out, even tinged and where it touches tissue."""
    picture = glass()
    stain(picture, TISSUE, EOSIN)
    line = stroke((2, 352), (298, 357), 3) & ~TISSUE
    picture[line] = shade
    image, far = finished(picture), line & ~ndimage.binary_dilation(TISSUE, iterations=12)
    assert not (found(image) & far).any()
    assert found(image, AutoTissue(reject_edges=False))[far].mean() > 0.5
    assert iou(found(image), TISSUE) > 0.9


def test_leaves_a_frame_out() -> None:
    """Four grey edges that meet, around the tissue, are left out and not filled."""
    picture = glass()
    stain(picture, TISSUE, EOSIN)
    corners = [(10, 14), (14, 390), (290, 386), (286, 10)]
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        picture[stroke(start, end, 3)] = (150, 150, 152)
    assert iou(found(finished(picture)), TISSUE) > 0.9


def test_leaves_dust_out() -> None:
    """Grey specks, small or large, are no tissue."""
    picture = glass()
    for i, radius in enumerate((2, 4, 8, 16)):
        picture[disc(150, 60 + 80 * i, radius)] = (110, 108, 106)
    assert not found(finished(picture)).any()


@pytest.mark.parametrize(
    "colour", [(0, 0, 0), (255, 255, 255), (240, 240, 240)], ids=["black", "white", "grey"]
)
def test_leaves_padding_out(colour: tuple[int, int, int]) -> None:
    """Padding around and between what was scanned is no tissue and does not mislead the estimate of the glass."""
    picture = glass(colour=(230, 228, 222))
    stain(picture, TISSUE, EOSIN)
    image = finished(picture)
    padding = np.zeros(SHAPE, dtype=bool)
    padding[:, :50], padding[280:], padding[:70, 200:] = True, True, True
    image[padding] = colour
    mask = found(image)
    assert not (mask & padding).any()
    assert iou(mask, TISSUE & ~padding) > 0.9


def test_padding_is_only_what_touches_the_border() -> None:
    """A black square inside the image is not padding, one at its border is."""
    image = finished(glass())
    image[100:140, 100:140] = 0
    assert not black_padding(np.moveaxis(image, 2, 0)).any()
    image[100:140, :40] = 0
    assert black_padding(np.moveaxis(image, 2, 0))[100:140, :40].all()


def test_whole_padding_is_empty() -> None:
    """An image of padding alone holds no tissue."""
    for value in (0, 255):
        assert not found(np.full((40, 50, 3), value, dtype=np.uint8)).any()


def test_grey_images_are_judged_by_darkness() -> None:
    """Where a file has no colour at all, the rules about colour are off and dark pieces are tissue."""
    picture = np.full((*SHAPE, 1), 240.0)
    picture[TISSUE] = 150
    image = np.repeat(finished(picture), 3, axis=2)
    assert iou(found(image), TISSUE) > 0.93


def test_means_the_same_at_another_pixel_size() -> None:
    """Settings are physical: the same slide in an overview twice as fine gives the same tissue."""
    picture = glass((600, 800))
    fine = np.repeat(np.repeat(TISSUE, 2, axis=0), 2, axis=1)
    stain(picture, fine, EOSIN)
    mask = auto_mask(finished(picture), mpp_overview=MPP / 2).mask
    assert iou(mask[::2, ::2], TISSUE) > 0.93


def test_boxes_survive_noise_and_another_encoding() -> None:
    """Noise of 3 grey levels, JPEG and a small colour shift move no side of a box by more than one pixel."""
    picture = glass() * uneven()
    stain(picture, TISSUE, EOSIN)
    stain(picture, disc(60, 300, 30), (0.02, 0.10, 0.05))
    first = boxes(found(finished(picture)))
    others = [
        finished(picture, noise=3, seed=7),
        finished(picture + np.array([2, -2, 1])),
        _as_jpeg(finished(picture), quality=90, subsampling=0),
    ]
    assert len(first) == 3
    for other in others:
        assert _farthest(first, boxes(found(other))) <= 1


def _farthest(first: list[Box], second: list[Box], *, pixel: float = 1) -> float:
    """The largest distance between matching sides, in overview pixels."""
    assert len(first) == len(second)
    sides = [[(b.x, b.y, b.right, b.bottom) for b in found_boxes] for found_boxes in (first, second)]
    return float(np.abs(np.subtract(*sides)).max() / pixel)


def _as_jpeg(image: Picture, *, quality: int, subsampling: int) -> Picture:
    """What a JPEG keeps of a picture."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def test_same_image_same_mask() -> None:
    """Two runs agree to the pixel."""
    picture = glass()
    stain(picture, TISSUE, EOSIN)
    image = finished(picture)
    np.testing.assert_array_equal(found(image), found(image.copy()))


def test_near_pieces_become_one_region() -> None:
    """Pieces 10 px (160 µm) apart are one region where the merge distance is 256 µm, 40 px apart two."""
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:60, 10:50], mask[20:60, 60:100], mask[20:60, 140:180] = True, True, True
    assert boxes(mask, AutoTissue(merge_um=256)) == [
        Box(x=10, y=20, width=90, height=40),
        Box(x=140, y=20, width=40, height=40),
    ]


def test_boxes_that_share_tissue_become_one() -> None:
    """A piece in the crook of an L lies in the L's box: one region. One that only touches its corner: two."""
    mask = np.zeros((300, 300), dtype=bool)
    mask[10:200, 10:30], mask[180:200, 10:200] = True, True
    mask[60:100, 100:140] = True
    assert boxes(mask) == [Box(x=10, y=10, width=190, height=190)]
    mask[60:100, 100:140] = False
    mask[20:140, 190:290] = True
    assert len(boxes(mask)) == 1
    mask[20:140, 190:290] = False
    mask[20:140, 199:290] = True
    assert len(boxes(mask)) == 2


def test_stain_signal_by_hand() -> None:
    """Absorbances .1, .4, .2 differ by .3 and have .1 in common, of which half counts: .35."""
    assert stain_signal(np.array([[[0.1]], [[0.4]], [[0.2]]], dtype=np.float32)) == pytest.approx(0.35)


def test_refuses_what_is_no_overview() -> None:
    """Other shapes and types, and a pixel size that is none, are refused with what was given."""
    with pytest.raises(TissueError, match=r"\(4, 4\) uint8"):
        auto_mask(np.zeros((4, 4), dtype=np.uint8), mpp_overview=MPP)
    for mpp in (0.0, -1.0, float("nan")):
        with pytest.raises(TissueError, match="per pixel"):
            auto_mask(np.zeros((4, 4, 3), dtype=np.uint8), mpp_overview=mpp)


def test_settings_are_checked() -> None:
    """Negative and non-finite settings are refused by name, and so is a faint threshold above the clear one."""
    with pytest.raises(UsageError, match="merge_um"):
        AutoTissue(merge_um=-1)
    with pytest.raises(UsageError, match="close_um"):
        AutoTissue(close_um=float("nan"))
    with pytest.raises(UsageError, match="faint"):
        AutoTissue(faint=0.5)


def _averaged(image: Picture, mpp: float) -> Picture:
    width, height = (round(side * mpp / MPP) for side in image.shape[1::-1])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _real_slide() -> Picture:
    openslide = pytest.importorskip("openslide")
    if not SVS.exists():
        pytest.skip(f"{SVS.name} is not in the data folder")
    slide = openslide.OpenSlide(str(SVS))
    return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def _real_boxes(image: Picture) -> list[Box]:
    overview = _averaged(image, 0.499)
    return auto_regions(
        found(overview),
        mpp_overview=MPP,
        downsample_x=image.shape[1] / overview.shape[1],
        downsample_y=image.shape[0] / overview.shape[0],
        width_l0=image.shape[1],
        height_l0=image.shape[0],
    )


def test_real_slide_is_one_region() -> None:
    """The real slide's tissue, one piece that leaves the right tenth of the image empty, is one region."""
    (box,) = _real_boxes(_real_slide())
    assert box.x < 80
    assert 1900 < box.right < 2120
    assert (box.y, box.bottom) in [(y, b) for y in range(80) for b in range(2900, 2968)]


def test_real_slide_and_its_dicom_twin_agree() -> None:
    """The same slide read as DICOM, its mistaken colour tag corrected, gives the same boxes within one pixel."""
    openslide = pytest.importorskip("openslide")
    files = sorted(DICOM.glob("*.dcm"), key=lambda path: path.stat().st_size) if DICOM.exists() else []
    if not files:
        pytest.skip(f"{DICOM.name} is not in the data folder")
    slide = openslide.OpenSlide(str(files[-1]))
    stored = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
    twin = np.asarray(Image.frombytes("YCbCr", stored.size, stored.tobytes()).convert("RGB"))
    assert _farthest(_real_boxes(_real_slide()), _real_boxes(twin), pixel=MPP / 0.499) <= 1


def _field(name: str) -> Picture:
    matches = sorted(FIELDS.glob(f"{name}*")) if FIELDS.exists() else []
    if not matches:
        pytest.skip(f"{name} is not in the data folder")
    return _averaged(np.asarray(Image.open(matches[0]).convert("RGB")), 1.0)


@pytest.mark.parametrize(
    "name",
    [
        "Non-Tumor___Case-4-C22-29696",
        "Non-Tumor___Case-48-P5-C18",
        "Non-Viable-Tumor___Case-3-A12-16067",
        "Viable___Case-4-C28-27016",
        "Non-Tumor___P9-B28-22141",
    ],
    ids=["pale fibres", "dark cartilage", "necrosis", "cells", "fat"],
)
def test_real_fields_full_of_tissue(name: str) -> None:
    """1 mm fields without glass are tissue nearly everywhere: pale or dark, necrotic, dense, fatty."""
    assert found(_field(name)).mean() > 0.9


def test_real_red_bone_is_not_ink() -> None:
    """Bone as red as a marker stays."""
    mask = found(_field("Non-Tumor___P9-B6-5195"))
    assert 0.25 < mask.mean() < 0.5
