"""Synthetic slides: the files, the folder, that only seeds matter, and that the classes do differ."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy import ndimage

from slideprep.cli.synthesize import synthesize_command
from slideprep.errors import UsageError
from slideprep.synthetic.cells import stamp_library
from slideprep.synthetic.dataset import make_slides, plan_slides
from slideprep.synthetic.glass import Stains, transmitted
from slideprep.synthetic.recipe import CLASSES
from slideprep.synthetic.slide import Origin, SlideSize, draw_slide, lay_out, make_slide, render_slide

TINY = SlideSize(pieces=(1, 1), piece_px=(300, 340), margin_px=(40, 60))


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labelled and two unlabelled slides of one small piece each."""
    out = tmp_path_factory.mktemp("synthetic") / "slides"
    make_slides(out, n_slides=6, unlabelled=2, seed=3, size=TINY)
    return out


def test_openslide_reads_pyramid_mpp_and_objective(tiny_set: Path) -> None:
    """OpenSlide finds 0.5 µm per pixel, objective 20, 256 px tiles, and levels that halve exactly."""
    with openslide.OpenSlide(tiny_set / "synthetic-0001.tiff") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert float(slide.properties["openslide.mpp-y"]) == 0.5
        assert float(slide.properties["openslide.objective-power"]) == 20
        assert slide.properties["openslide.level[0].tile-width"] == "256"
        assert slide.level_downsamples[:2] == (1.0, 2.0)
        assert len(slide.associated_images) == 0


def test_every_output_says_synthetic(tiny_set: Path) -> None:
    """File names, the TIFF's description, the read-me, the record and the patients' names say synthetic."""
    assert all("synthetic" in path.name for path in tiny_set.glob("*.tiff"))
    with openslide.OpenSlide(tiny_set / "synthetic-0002.tiff") as slide:
        assert "SYNTHETIC" in slide.properties["openslide.comment"]
    assert "SYNTHETIC" in (tiny_set / "README.txt").read_text()
    assert json.loads((tiny_set / "synthetic.json").read_text())["synthetic"] is True
    with (tiny_set / "labels.csv").open() as table:
        assert all(row["patient"].startswith("synthetic") for row in csv.DictReader(table))


def test_labels_name_every_slide_and_leave_auxiliary_ones_empty(tiny_set: Path) -> None:
    """Classes take turns over the labelled slides; the unlabelled ones follow with an empty label."""
    with (tiny_set / "labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["slide", "label", "patient"]
    assert [row["slide"] for row in rows] == sorted(path.name for path in tiny_set.glob("*.tiff"))
    assert [row["label"] for row in rows] == ["normal", "inflamed", "atypical"] * 2 + ["", ""]


def test_a_patient_has_one_class_and_at_most_two_slides() -> None:
    """No patient crosses classes or has over two slides, and in 60 slides some have two."""
    plan = plan_slides(n_slides=60, unlabelled=5, classes=list(CLASSES), seed=0)
    slides_of: dict[str, list[str]] = {}
    for slide in plan:
        slides_of.setdefault(slide.patient, []).append(slide.label)
    assert all(len(set(labels)) == 1 for labels in slides_of.values())
    assert {len(labels) for labels in slides_of.values()} == {1, 2}


def test_pen_is_on_every_fourth_slide_and_on_every_class() -> None:
    """Six of 24 slides bear pen, spread over all classes, so that pen does not tell the class."""
    plan = plan_slides(n_slides=24, unlabelled=0, classes=list(CLASSES), seed=0)
    assert sum(slide.pen for slide in plan) == 6
    assert {slide.label for slide in plan if slide.pen} == set(CLASSES)


@pytest.mark.parametrize("seed", range(4))
def test_pen_adds_ink_to_the_same_slide(seed: int) -> None:
    """Pen darkens at least one part in two hundred of a slide by over 60 grey levels."""
    bare = render_slide(class_name="normal", seed=seed, size=TINY)
    marked = render_slide(class_name="normal", seed=seed, pen=True, size=TINY)
    darker = (bare.astype(int) - marked).max(axis=-1) > 60
    assert darker.mean() > 0.005


def test_worker_count_changes_no_byte(tiny_set: Path, tmp_path: Path) -> None:
    """Two workers write the same files as one."""
    again = make_slides(tmp_path / "again", n_slides=6, unlabelled=2, seed=3, workers=2, size=TINY)
    assert [path.read_bytes() for path in again] == [(tiny_set / path.name).read_bytes() for path in again]
    assert (tmp_path / "again" / "labels.csv").read_bytes() == (tiny_set / "labels.csv").read_bytes()


def test_seed_changes_the_slide(tmp_path: Path) -> None:
    """Another seed gives another slide."""
    first = make_slide(tmp_path / "a.tiff", class_name="normal", seed=1, size=TINY)
    second = make_slide(tmp_path / "b.tiff", class_name="normal", seed=2, size=TINY)
    assert first.read_bytes() != second.read_bytes()


def test_an_interrupted_set_is_completed_to_the_same_bytes(tiny_set: Path, tmp_path: Path) -> None:
    """With a slide and labels.csv missing and a half-written file left, the same call restores the set."""
    out = tmp_path / "slides"
    make_slides(out, n_slides=2, seed=3, size=TINY)
    (out / "synthetic-0002.tiff").rename(out / "synthetic-0002.tiff.partial")
    (out / "labels.csv").unlink()
    kept = (out / "synthetic-0001.tiff").stat().st_mtime_ns
    make_slides(out, n_slides=2, seed=3, size=TINY)
    assert (out / "synthetic-0001.tiff").stat().st_mtime_ns == kept
    assert (out / "synthetic-0002.tiff").read_bytes() == (tiny_set / "synthetic-0002.tiff").read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [
        "README.txt",
        "labels.csv",
        "synthetic-0001.tiff",
        "synthetic-0002.tiff",
        "synthetic.json",
    ]


def test_other_settings_and_strange_folders_are_refused(tiny_set: Path, tmp_path: Path) -> None:
    """A set is never mixed with another one, nor written among other files."""
    with pytest.raises(UsageError, match="other settings"):
        make_slides(tiny_set, n_slides=6, unlabelled=2, seed=4, size=TINY)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        make_slides(tmp_path, n_slides=1, size=TINY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_slides": 0}, "at least one slide"),
        ({"classes": []}, "at least one class"),
        ({"classes": ["normal", "cat"]}, "no class 'cat'"),
        ({"workers": 0}, "at least one worker"),
    ],
)
def test_settings_without_sense_are_refused_before_any_file(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    """Wrong settings raise a usage error that says why, and leave no folder behind."""
    with pytest.raises(UsageError, match=message):
        make_slides(tmp_path / "out", size=TINY, **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_sizes_must_be_ranges_that_hold_a_gland() -> None:
    """A reversed range and pieces too small for a gland are refused."""
    with pytest.raises(UsageError, match="least, most"):
        SlideSize(pieces=(3, 2))
    with pytest.raises(UsageError, match="at least 256 px"):
        SlideSize(piece_px=(100, 300))


@pytest.mark.parametrize("seed", range(5))
def test_layout_keeps_pieces_apart_and_inside(seed: int) -> None:
    """Boxes have even sides, lie inside the slide and do not meet; the slide's sides are multiples of 64."""
    (rows, columns), boxes = lay_out(np.random.default_rng(seed), SlideSize())
    assert rows % 64 == columns % 64 == 0
    assert 2 <= len(boxes) <= 4
    for i, box in enumerate(boxes):
        assert box.width % 2 == box.height % 2 == 0
        assert box.right <= columns
        assert box.bottom <= rows
        assert all(box.intersection(other) is None for other in boxes[i + 1 :])


def test_light_obeys_beer_and_lambert() -> None:
    """One unit of a stain of density 0.3010 halves the light: 200 becomes 100; no stain leaves it at 200."""
    stains = Stains(hematoxylin=np.full(3, 0.30103, np.float32), eosin=np.zeros(3, np.float32))
    light = np.full((1, 2, 3), 200, np.uint8)
    pixels = transmitted(light, np.array([[0, 1]], np.float32), np.zeros((1, 2), np.float32), stains)
    assert pixels.tolist() == [[[200] * 3, [100] * 3]]


def _nuclei(class_name: str, seed: int) -> float:
    """Nuclei per 1000 pixels of tissue, counted as peaks of density in red light at 20x."""
    size = SlideSize(pieces=(1, 1), piece_px=(700, 700), margin_px=(40, 60))
    pixels = render_slide(class_name=class_name, seed=seed, size=size)
    density = -np.log10(pixels[..., 0] / 243.0)
    raised = ndimage.gaussian_filter(density, 2.0) - ndimage.gaussian_filter(density, 14.0)
    peaks = (raised > 0.1) & (raised == ndimage.maximum_filter(raised, 9))
    return float(1000 * peaks.sum() / (pixels.min(axis=-1) < 200).sum())


@pytest.mark.parametrize("seed", range(3))
def test_inflamed_tissue_is_denser_in_nuclei(seed: int) -> None:
    """Of two slides that differ in nothing but the class, inflamed tissue has a third more nuclei than normal."""
    assert _nuclei("inflamed", seed) > 1.33 * _nuclei("normal", seed)


def test_nuclei_have_the_area_that_the_recipe_says() -> None:
    """Epithelial nuclei: 33 µm² (π x 4.2 x 2.5) where normal, 93 µm² (π x 6.6 x 4.5) where atypical, within 15 %."""
    for name, area_um2 in (("normal", 33.0), ("inflamed", 33.0), ("atypical", 93.0)):
        recipe = CLASSES[name].epithelial
        stamps = stamp_library(np.random.default_rng(0), recipe, 0.4)
        inside = stamps > 0.25 * recipe.hematoxylin
        assert inside.sum(axis=(1, 2)).mean() * 0.25 == pytest.approx(area_um2, rel=0.15)


def test_classes_have_the_same_mean_colour_but_for_a_few_grey_levels() -> None:
    """Mean colours of tissue differ between classes by less than between slides of one class."""

    def colour(class_name: str, seed: int) -> np.ndarray:
        pixels = render_slide(class_name=class_name, seed=seed, size=TINY)
        return pixels[pixels.min(axis=-1) < 215].mean(axis=0)

    table = np.array([[colour(name, seed) for name in CLASSES] for seed in range(6)])
    between_slides = table.mean(axis=1).std(axis=0)
    between_classes = table.mean(axis=0).std(axis=0)
    assert (between_classes < between_slides).all()


def test_a_scan_at_40x_is_the_same_slide_enlarged(tiny_set: Path, tmp_path: Path) -> None:
    """Level 1 of it is level 0 of the scan at 20x, but for JPEG; it says 40x and 0.25 µm, as do record and read-me."""
    out = tmp_path / "slides"
    make_slides(out, n_slides=1, seed=3, size=TINY, origin=Origin(objective=40))
    with openslide.OpenSlide(tiny_set / "synthetic-0001.tiff") as slide:
        usual = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"), dtype=int)
    with openslide.OpenSlide(out / "synthetic-0001.tiff") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert float(slide.properties["openslide.objective-power"]) == 40
        assert slide.dimensions == (2 * usual.shape[1], 2 * usual.shape[0])
        halved = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]).convert("RGB"), dtype=int)
    assert np.abs(halved - usual).mean() < 2
    assert json.loads((out / "synthetic.json").read_text())["origin"] == {"objective": 40, "stain_shift": 0.0}
    assert "40x, 0.25 micrometres per pixel" in (out / "README.txt").read_text()
    with pytest.raises(UsageError, match="other settings"):
        make_slides(out, n_slides=1, seed=3, size=TINY)


def test_a_usual_set_is_recorded_as_before(tiny_set: Path) -> None:
    """So that a set begun by an earlier version is completed."""
    assert "origin" not in json.loads((tiny_set / "synthetic.json").read_text())
    assert "20x, 0.5 micrometres per pixel" in (tiny_set / "README.txt").read_text()


def test_shifted_stains_change_the_hue_and_no_cell() -> None:
    """Red's share of the light absorbed grows with the shift, and what was dark stays where it was."""
    slides = [
        draw_slide(class_name="normal", seed=1, size=TINY, stain_shift=shift).pixels for shift in (0, 1, 2)
    ]
    density = [-np.log(np.maximum(pixels, 1) / 250.0) for pixels in slides]
    tissue = density[0][..., 1] > 0.2
    red = [one[tissue][:, 0].mean() / one[tissue].sum(axis=1).mean() for one in density]
    assert red[0] + 0.02 < red[1] < red[2] - 0.02
    dark = [one[..., 0] > np.quantile(one[..., 0], 0.99) for one in density]
    assert (dark[0] & dark[2]).sum() > 0.6 * dark[0].sum()
    assert np.array_equal(slides[0], render_slide(class_name="normal", seed=1, size=TINY))


@pytest.mark.parametrize(
    ("origin", "words"),
    [({"objective": 30}, "20x or 40x, and not at 30x"), ({"stain_shift": 2.5}, "from 0 to 2, and not 2.5")],
)
def test_scans_and_stains_that_no_one_has_are_refused(origin: dict[str, float], words: str) -> None:
    """Slides are drawn at 20x, and eosin would vanish."""
    with pytest.raises(UsageError, match=words):
        Origin(**origin)  # type: ignore[arg-type]


def test_the_background_is_bright_and_uneven() -> None:
    """Bare glass is above 225 grey levels everywhere, and not the same everywhere."""
    pixels = render_slide(class_name="normal", seed=0, size=TINY)
    corners = [pixels[:20, :20], pixels[:20, -20:], pixels[-20:, :20], pixels[-20:, -20:]]
    means = [float(corner.mean()) for corner in corners]
    assert min(means) > 225
    assert max(means) - min(means) > 1


def test_command_makes_a_set_and_sums_it_up(tmp_path: Path) -> None:
    """The command exits 0, writes the slides, and says how many and where the labels are."""
    out = tmp_path / "demo"
    options = [str(out), "--slides", "3", "--unlabelled", "1", "--workers", "1", "--piece-px", "300", "320"]
    result = CliRunner().invoke(synthesize_command, options)
    assert result.exit_code == 0, result.output
    assert "4 synthetic slides (1 of them unlabelled)" in result.output
    assert "labels.csv" in result.output
    assert len(list(out.glob("*.tiff"))) == 4
    assert Image.open(out / "synthetic-0001.tiff").size[0] % 64 == 0


def test_command_reports_wrong_usage_with_code_2(tmp_path: Path) -> None:
    """A class that does not exist is exit code 2, with the choices named."""
    result = CliRunner().invoke(synthesize_command, [str(tmp_path / "demo"), "--classes", "cat"])
    assert result.exit_code == 2
    assert "choose from normal, inflamed, atypical" in result.output


def test_help_needs_no_image_library() -> None:
    """Importing the command loads neither libvips nor scipy: --help answers at once."""
    code = (
        "import sys, slideprep.cli.synthesize; "
        "sys.exit(any(name in sys.modules for name in ('pyvips', 'scipy', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
