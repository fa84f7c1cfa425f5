"""Focal slides: where a lesion lies, what differs inside, what stays as it was, and what the truth file says."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw
from scipy import ndimage

from slideprep.cli.synthesize import synthesize_command
from slideprep.errors import UsageError
from slideprep.synthetic.cells import Cells
from slideprep.synthetic.dataset import make_slides
from slideprep.synthetic.lesion import Lesion, LesionSize, place_lesion
from slideprep.synthetic.recipe import CLASSES, draw_style
from slideprep.synthetic.slide import Origin, SlideSize, draw_slide, render_slide
from slideprep.synthetic.tissue import Structure, build_structure
from slideprep.tissue.annotation_files import read_annotations

TINY = SlideSize(pieces=(1, 1), piece_px=(300, 340), margin_px=(40, 60))
SMALL = SlideSize(pieces=(1, 1), piece_px=(560, 640), margin_px=(40, 60))
USUAL = LesionSize()


@pytest.fixture(scope="module")
def focal_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labelled focal slides, one of each class, and an unlabelled one."""
    out = tmp_path_factory.mktemp("focal") / "slides"
    make_slides(out, n_slides=3, unlabelled=1, seed=3, size=TINY, lesion_size=USUAL)
    return out


def _structure(seed: int, shape_um: tuple[int, int] = (300, 340)) -> Structure:
    rng = np.random.default_rng(seed)
    return build_structure(rng, shape_um, CLASSES["normal"], draw_style(rng))


def _inside(pixels: np.ndarray, outline_l0: np.ndarray) -> np.ndarray:
    mask = Image.new("L", (pixels.shape[1], pixels.shape[0]))
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in outline_l0], fill=1)
    return np.asarray(mask) > 0


def test_slides_without_lesions_are_what_they_were_before_there_were_any(tmp_path: Path) -> None:
    """Pixels, record and read-me of a plain set are those of version 0.1.0: blocks of 96 px within 0.05 grey levels.

    Blocks, because the last digit of an exponential differs between processors.
    """
    pixels = render_slide(class_name="atypical", seed=(7, 1), pen=True, size=TINY)
    blocks = pixels[:384, :384].reshape(4, 96, 4, 96, 3).mean(axis=(1, 3, 4))
    expected = [
        [231.00, 181.43, 187.13, 206.18],
        [176.09, 150.78, 152.88, 187.57],
        [202.86, 144.09, 138.13, 167.17],
        [235.42, 190.55, 188.47, 219.98],
    ]
    np.testing.assert_allclose(blocks, expected, atol=0.05)
    make_slides(tmp_path / "set", n_slides=1, seed=3, size=TINY)
    record = '{\n  "synthetic": true,\n  "n_slides": 1,\n  "unlabelled": 0,\n  "classes": [\n    "normal",\n'
    assert (tmp_path / "set" / "synthetic.json").read_text().startswith(record)
    assert list(json.loads((tmp_path / "set" / "synthetic.json").read_text()))[-1] == "size"
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "README.txt",
        "labels.csv",
        "synthetic-0001.tiff",
        "synthetic.json",
    ]
    read_me = hashlib.sha256((tmp_path / "set" / "README.txt").read_bytes()).hexdigest()
    assert read_me == "5c22c30a08a5ae3530351a3327e5fee9ea3bf82daa430d5b612f47a47e5eec7e"


def test_a_normal_slide_of_a_focal_set_is_that_of_a_plain_set(focal_set: Path, tmp_path: Path) -> None:
    """Normal slides have no lesion: the same bytes with and without the option, and a truth without outlines."""
    make_slides(tmp_path / "plain", n_slides=1, seed=3, size=TINY)
    plain = (tmp_path / "plain" / "synthetic-0001.tiff").read_bytes()
    assert (focal_set / "synthetic-0001.tiff").read_bytes() == plain
    assert read_annotations(focal_set / "truth" / "synthetic-0001.geojson").regions == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_lesion_lies_wholly_in_the_tissue(seed: int) -> None:
    """Within a lesion's outline there is nothing but the piece, its holes included, and the area is as asked."""
    structure = _structure(seed)
    lesion = place_lesion(np.random.default_rng(seed), structure, USUAL)
    assert (structure.cover[lesion.inside >= 0.5] > 0.98).all()
    assert 0.09 < lesion.share < 0.26
    drawn = _inside(lesion.inside, lesion.outline_um)
    assert (drawn != (lesion.inside >= 0.5)).sum() < 0.06 * drawn.sum()


def test_an_outline_that_fits_nowhere_shrinks_to_the_broadest_part() -> None:
    """In a strip 60 µm wide, a lesion that asks for half of it is at most 60 µm high, and still inside."""
    structure = _structure(0)
    strip = np.zeros_like(structure.cover)
    strip[100:160, 20:-20] = 1
    thin = Structure(**{**vars(structure), "cover": strip})
    lesion = place_lesion(np.random.default_rng(0), thin, LesionSize(share=(0.5, 0.5)))
    assert (strip[lesion.inside >= 0.5] == 1).all()
    assert 0.02 < lesion.share < 0.3
    assert np.ptp(lesion.outline_um[:, 1]) <= 61


def test_a_lesion_lies_where_glands_are() -> None:
    """Over ten pieces, lesions hold more epithelium than the tissue around them."""
    shares = []
    for seed in range(10):
        structure = _structure(seed)
        inside = place_lesion(np.random.default_rng(seed), structure, USUAL).inside >= 0.5
        around = (structure.cover > 0.98) & ~inside
        shares.append((structure.epithelium[inside].mean(), structure.epithelium[around].mean()))
    within, without = np.mean(shares, axis=0)
    assert within > without


@pytest.mark.parametrize("class_name", ["inflamed", "atypical"])
def test_around_its_lesion_a_slide_is_the_normal_slide_of_its_seed(class_name: str) -> None:
    """Beyond the cells that reach out of it, the lesion changes 1 pixel in 100 by over 6 grey levels; inside most."""
    focal = draw_slide(class_name=class_name, seed=4, size=SMALL, lesion_size=USUAL)
    normal = render_slide(class_name="normal", seed=4, size=SMALL)
    difference = np.abs(focal.pixels.astype(int) - normal).max(axis=-1)
    inside = _inside(normal, focal.lesions[0].outline_l0)
    around = ~ndimage.binary_dilation(inside, iterations=30)
    assert np.percentile(difference[around], 99) <= 6
    assert difference[inside].mean() > 12


@pytest.mark.parametrize("class_name", ["inflamed", "atypical"])
def test_a_lesion_is_hardly_darker_than_the_tissue_that_it_replaces(class_name: str) -> None:
    """Over four slides, the mean colour inside is within 7 grey levels of the normal slide's at the same place.

    Single pixels differ by 20 on average.
    """
    shifts = []
    for seed in range(4):
        focal = draw_slide(class_name=class_name, seed=seed, size=SMALL, lesion_size=USUAL)
        normal = render_slide(class_name="normal", seed=seed, size=SMALL)
        inside = _inside(normal, focal.lesions[0].outline_l0)
        shifts.append((focal.pixels[inside].astype(float) - normal[inside]).mean(axis=0))
    assert np.abs(np.mean(shifts, axis=0)).max() < 7


def test_an_outline_has_no_edge_of_its_own() -> None:
    """Over four slides, smoothed over 6 px, steps along the outline are within a fifth of the normal slide's there."""
    steps = []
    for seed in range(4):
        focal = draw_slide(class_name="inflamed", seed=seed, size=SMALL, lesion_size=USUAL)
        normal = render_slide(class_name="normal", seed=seed, size=SMALL)
        inside = _inside(normal, focal.lesions[0].outline_l0)
        edge = ndimage.binary_dilation(inside, iterations=4) & ~ndimage.binary_erosion(inside, iterations=4)
        slides = (focal.pixels.mean(axis=-1), normal.mean(axis=-1))
        steps.append([ndimage.gaussian_gradient_magnitude(slide, 6)[edge].mean() for slide in slides])
    with_lesion, without = np.mean(steps, axis=0)
    assert with_lesion < 1.2 * without


def test_cells_belong_to_the_side_that_holds_their_centre() -> None:
    """An inflamed lesion has over half as many nuclei again, per pixel of tissue, as the tissue around."""
    size = SlideSize(pieces=(1, 1), piece_px=(900, 900), margin_px=(40, 60))
    focal = draw_slide(class_name="inflamed", seed=1, size=size, lesion_size=LesionSize(share=(0.25, 0.25)))
    density = -np.log10(focal.pixels[..., 0] / 243.0)
    raised = ndimage.gaussian_filter(density, 2.0) - ndimage.gaussian_filter(density, 14.0)
    peaks = (raised > 0.1) & (raised == ndimage.maximum_filter(raised, 9))
    tissue = focal.pixels.min(axis=-1) < 200
    inside = _inside(focal.pixels, focal.lesions[0].outline_l0)
    assert peaks[inside].sum() / tissue[inside].sum() > 1.5 * peaks[~inside].sum() / tissue[~inside].sum()


def test_the_truth_is_read_as_annotations_in_level_0_pixels(focal_set: Path) -> None:
    """Slideprep's own reader finds one polygon a piece, of the slide's class, inside the slide."""
    for number, class_name in ((2, "inflamed"), (3, "atypical")):
        found = read_annotations(focal_set / "truth" / f"synthetic-000{number}.geojson")
        assert found.notes == ()
        assert [region.class_name for region in found.regions] == [class_name]
        drawn = draw_slide(class_name=class_name, seed=(3, number), size=TINY, lesion_size=USUAL)
        corners = np.array(found.regions[0].polygons[0].exterior)
        np.testing.assert_allclose(corners, drawn.lesions[0].outline_l0, atol=0.051)
        rows, columns = drawn.pixels.shape[:2]
        box = found.regions[0].box(width_l0=columns, height_l0=rows)
        assert 0 < box.x < box.right < columns
        assert 0 < box.y < box.bottom < rows


def test_the_truth_of_a_scan_at_40x_is_in_its_own_pixels(tmp_path: Path) -> None:
    """Outlines are twice as far from the corner as at 20x."""
    origin = Origin(objective=40)
    make_slides(
        tmp_path, n_slides=1, classes=("atypical",), seed=3, size=TINY, lesion_size=USUAL, origin=origin
    )
    (found,) = read_annotations(tmp_path / "truth" / "synthetic-0001.geojson").regions
    drawn = draw_slide(class_name="atypical", seed=(3, 1), size=TINY, lesion_size=USUAL)
    corners = np.array(found.polygons[0].exterior)
    np.testing.assert_allclose(corners, 2 * drawn.lesions[0].outline_l0, atol=0.051)


def test_every_slide_has_a_truth_and_the_set_says_what_it_is(focal_set: Path) -> None:
    """Truth files bear the slides' names, unlabelled ones included; record and read-me tell of lesions."""
    names = sorted(path.stem for path in (focal_set / "truth").iterdir())
    assert names == sorted(path.stem for path in focal_set.glob("*.tiff"))
    assert json.loads((focal_set / "synthetic.json").read_text())["lesions"]["share"] == [0.1, 0.25]
    assert "lesion" in (focal_set / "README.txt").read_text()


def test_worker_count_and_interruption_change_no_byte_of_a_focal_set(focal_set: Path, tmp_path: Path) -> None:
    """Two workers, and a set completed after a slide was lost, give the same slides and truths."""
    out = tmp_path / "again"
    make_slides(out, n_slides=3, unlabelled=1, seed=3, workers=2, size=TINY, lesion_size=USUAL)
    (out / "synthetic-0002.tiff").unlink()
    (out / "truth" / "synthetic-0002.geojson").unlink()
    make_slides(out, n_slides=3, unlabelled=1, seed=3, size=TINY, lesion_size=USUAL)
    files = [path.relative_to(focal_set) for path in sorted(focal_set.rglob("*")) if path.is_file()]
    assert [(out / name).read_bytes() for name in files] == [
        (focal_set / name).read_bytes() for name in files
    ]


def test_plain_and_focal_sets_are_never_mixed(focal_set: Path) -> None:
    """A folder of focal slides is not completed with plain ones, nor with lesions of another size."""
    for other in (None, LesionSize(share=(0.2, 0.3))):
        with pytest.raises(UsageError, match="other settings"):
            make_slides(focal_set, n_slides=3, unlabelled=1, seed=3, size=TINY, lesion_size=other)


@pytest.mark.parametrize("share", [(0.0, 0.2), (0.3, 0.2), (0.2, 0.8)])
def test_a_lesion_takes_a_part_of_its_piece(share: tuple[float, float]) -> None:
    """Shares of nothing, reversed, or of more than half the piece are refused with what was given."""
    with pytest.raises(UsageError, match=f"got {share[0]:g} {share[1]:g}"):
        LesionSize(share=share)


def test_the_command_makes_focal_slides_and_refuses_a_size_without_them(tmp_path: Path) -> None:
    """--focal writes truths; --lesion-share alone is exit code 2, before any folder is made."""
    options = [str(tmp_path / "set"), "--slides", "2", "--workers", "1", "--piece-px", "300", "320"]
    refused = CliRunner().invoke(synthesize_command, [*options, "--lesion-share", "0.2", "0.3"])
    assert refused.exit_code == 2
    assert "add --focal" in refused.output
    assert not (tmp_path / "set").exists()
    made = CliRunner().invoke(synthesize_command, [*options, "--focal", "--lesion-share", "0.2", "0.3"])
    assert made.exit_code == 0, made.output
    truth = json.loads((tmp_path / "set" / "truth" / "synthetic-0002.geojson").read_text())
    shares = [feature["properties"]["measurements"]["Share of its piece"] for feature in truth["features"]]
    assert len(shares) > 0
    assert all(0.19 < share < 0.31 for share in shares)


def test_a_cell_is_inside_by_its_centre() -> None:
    """A cell on the outline's inner side is held, one on the outer side is not; cells beyond the grid are outside."""
    inside = np.zeros((20, 20), np.float32)
    inside[5:10, 5:10] = 1
    lesion = Lesion(inside=inside, outline_um=np.zeros((3, 2)), share=0.1)
    cells = Cells(x_um=np.array([5.2, 4.8, 25.0]), y_um=np.array([9.5, 9.5, -3.0]), angle=np.zeros(3))
    assert lesion.holds(cells).tolist() == [True, False, False]
