"""slideprep from Python: slides are opened, regions come one by one, and what is asked for wrongly is refused in words.

That the images are those of the tars is tests/e2e/test_shard_versus_slide.py's.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

import slideprep
from fixtures.buckets import empty_memory
from fixtures.build_inputs import config
from fixtures.slides import half_zero_tile, picture, write_dicom, write_jpeg_tiff, write_svs
from slideprep import ReadSettings, RegionImages
from slideprep.errors import (
    MagnificationError,
    SlideOpenError,
    SlideReadError,
    TissueError,
    UsageError,
)
from slideprep.images.codec import decode
from slideprep.slides.overview import read_level
from slideprep.storage import remote
from slideprep.storage.places import Url
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

WHOLE = ReadSettings(magnifications=(10, 5, 2.5), tissue="whole", image_format="png")
"""The whole slide as one region, without loss."""


@pytest.fixture
def svs(tmp_path: Path) -> Path:
    """320 x 256 px at 20x, with levels of 1, 2 and 4."""
    return write_svs(tmp_path / "a.7.svs", picture(320, 256), levels=3)


def only(path: Path, settings: ReadSettings = WHOLE, **options: Any) -> RegionImages:
    """The only region of a slide."""
    with slideprep.open_slide(path) as slide:
        (region,) = slideprep.extract(slide, settings, **options)
    return region


def test_the_package_loads_nothing_until_it_is_asked() -> None:
    """Importing slideprep and listing it brings no library; errors and types of slides bring none that builds."""
    program = (
        "import sys, slideprep\n"
        "assert dir(slideprep) == sorted(slideprep.__all__)\n"
        "assert slideprep.UsageError and not {'numpy', 'pydantic', 'rich'} & {*sys.modules}\n"
        "assert slideprep.open_slide and not {'pydantic', 'ray'} & {*sys.modules}\n"
        "assert slideprep.build and not {'llvmlite', 'ray'} & {*sys.modules}\n"
        "assert dir(slideprep) == sorted(slideprep.__all__)\n"
        "slideprep.no_such_name"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (
        done.stderr.splitlines()[-1] == "AttributeError: module 'slideprep' has no attribute 'no_such_name'"
    )


@pytest.mark.parametrize("name", sorted(set(slideprep.__all__) - {"__version__"}))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """Its own docstring, no base class's."""
    public = getattr(slideprep, name)
    assert (public.__name__, public.__module__.partition(".")[0]) == (name, "slideprep")
    assert vars(public).get("__doc__", public.__doc__)


def test_type_checkers_see_what_python_finds() -> None:
    """Each name is imported for type checkers from the module that it is loaded from, and no other name is."""
    tree = ast.parse(Path(slideprep.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    seen = {
        (name.name, node.module)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    loaded = {(name, f"slideprep.{module}") for name, module in slideprep._HOME_OF.items()}
    assert seen == loaded
    assert {name for name, _ in seen} == {*slideprep.__all__} - {"__version__"}


def test_every_error_has_one_base() -> None:
    """Whoever catches SlideprepError catches all that is raised on purpose."""
    errors = [name for name in slideprep.__all__ if name.endswith("Error")]
    assert len(errors) >= 8
    assert all(issubclass(getattr(slideprep, name), slideprep.SlideprepError) for name in errors)


def test_an_open_slide_says_what_is_known(svs: Path) -> None:
    """Name, reader, size, levels, mpp and objective, as the file says."""
    with slideprep.open_slide(str(svs)) as slide:
        assert (slide.name, slide.reader, slide.width, slide.height) == ("a.7.svs", "tiff-jpeg", 320, 256)
        assert [level.width for level in slide.levels] == [320, 160, 80]
        assert (slide.mpp, slide.objective, slide.warnings) == (0.5, 20, ())
        assert slide.overview(80).shape == (64, 80, 3)
        assert slide.overview().shape == (256, 320, 3)


def test_what_is_given_fills_gaps_and_corrects_nothing(tmp_path: Path, svs: Path) -> None:
    """A file's own objective and mpp win; where it has none, what was given counts, before the settings'."""
    with slideprep.open_slide(svs, objective=40, mpp=0.25) as slide:
        assert (slide.objective, slide.mpp) == (20, 0.5)
    plain = write_jpeg_tiff(tmp_path / "b.tif", picture(320, 256))
    with slideprep.open_slide(plain, objective=40) as slide:
        assert (slide.objective, slide.mpp) == (40, None)
        settings = WHOLE.model_copy(update={"objective": 20.0, "mpp": 0.5})
        found = slideprep.extract(slide, settings)
        assert (found.scale.objective, found.scale.objective_source, found.scale.mpp) == (
            40,
            "--objective",
            0.5,
        )


def test_a_slide_of_unknown_magnification_says_what_to_give(tmp_path: Path) -> None:
    """Opening it is fine; images of it need a scale."""
    plain = write_jpeg_tiff(tmp_path / "b.tif", picture(128, 128))
    with slideprep.open_slide(plain) as slide, pytest.raises(MagnificationError, match="--objective 20"):
        slideprep.extract(slide)


@pytest.mark.parametrize(
    "given", [{"objective": 0}, {"mpp": -0.5}, {"objective": float("nan")}, {"mpp": 200}]
)
def test_numbers_that_no_slide_has_are_refused(svs: Path, given: dict[str, float]) -> None:
    """Found before anything is opened, by name."""
    with pytest.raises(UsageError, match=rf"^{next(iter(given))}=.*none that a slide can have"):
        slideprep.open_slide(svs, **given)


def test_no_slide_and_several_slides(tmp_path: Path) -> None:
    """A path that leads to none, or to more than one, is refused; a damaged file fails as that slide."""
    with pytest.raises(UsageError, match="no such file"):
        slideprep.open_slide(tmp_path / "none.svs")
    for name in ("a.svs", "b.svs"):
        write_svs(tmp_path / name, picture(64, 64))
    with pytest.raises(UsageError, match=r"holds 2 slides \(a.svs, \.\.\.\); name one of them"):
        slideprep.open_slide(tmp_path)
    (tmp_path / "b.svs").write_bytes(b"")
    with pytest.raises(SlideOpenError, match="empty"):
        slideprep.open_slide(tmp_path / "b.svs")


def test_a_folder_of_one_dicom_series_is_one_slide(tmp_path: Path) -> None:
    """The series is named by its folder."""
    (tmp_path / "series").mkdir()
    write_dicom(tmp_path / "series" / "1.dcm", picture(128, 128))
    with slideprep.open_slide(tmp_path / "series") as slide:
        assert (slide.name, slide.width) == ("series", 128)


def test_a_slide_in_a_store_is_fetched_and_removed(
    svs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address gives the images of a local copy; closing leaves nothing behind; messages show the address."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    empty_memory()
    folder = Url("memory://archive/slides")
    remote.write_bytes(folder / svs.name, svs.read_bytes())
    remote.write_bytes(folder / "bad.svs", svs.read_bytes()[:1000])
    with slideprep.open_slide(folder / svs.name) as slide:
        (region,) = slideprep.extract(slide, WHOLE)
        assert list((tmp_path / "scratch").rglob("*.svs"))
    assert region.images == only(svs).images
    with pytest.raises(SlideOpenError, match=r"memory://archive/slides/bad\.svs") as refusal:
        slideprep.open_slide(folder / "bad.svs")
    assert str(tmp_path) not in str(refusal.value)
    assert not list((tmp_path / "scratch").rglob("*.svs"))


def test_a_region_says_where_it_lies(svs: Path) -> None:
    """Key, box on level 0, and of every image its size, factor and mpp; highest magnification first."""
    region = only(svs)
    assert region.key.startswith("a-7-") and region.key.endswith("-r0000")
    assert (region.index, region.x, region.y, region.width, region.height) == (0, 0, 0, 320, 256)
    assert [(m, i.width, i.height, i.factor, i.mpp) for m, i in region.images.items()] == [
        (10, 160, 128, 2, 1), (5, 80, 64, 4, 2), (2.5, 40, 32, 8, 4)
    ]  # fmt: skip
    for image in region.images.values():
        assert image.pixels.shape == (image.height, image.width, 3)
        assert (image.valid.width, image.valid.height) == (image.width, image.height)


def test_without_settings_the_magnifications_are_those_of_the_set(tmp_path: Path) -> None:
    """As build-shards with --magnifications alone: a 5x scan gives 1.25x, though not the paper's 10x."""
    path = write_svs(tmp_path / "a.svs", picture(320, 256), objective=5, mpp=2)
    with slideprep.open_slide(path) as slide:
        assert slideprep.extract(slide, magnifications=[1.25]).settings == ReadSettings(
            magnifications=(1.25,)
        )
        with pytest.raises(MagnificationError, match="10x is finer than the scan"):
            slideprep.extract(slide)


def test_what_the_settings_do_not_hold_is_refused(svs: Path, tmp_path: Path) -> None:
    """Other magnifications, none at all, annotations that nobody reads, pictures of no size."""
    for options, words in (
        ({"magnifications": [10, 1.25]}, r"magnifications=\[10, 1.25\] are not among .* \[10, 5, 2.5\]"),
        ({"magnifications": []}, "choose from them"),
        ({"annotations": tmp_path}, "settings say tissue='whole'"),
        ({"also": [0]}, r"also=\[0\] must name magnifications above 0"),
        ({"also": [5, 5]}, "each once"),
    ):
        with slideprep.open_slide(svs) as slide, pytest.raises(UsageError, match=words):
            slideprep.extract(slide, WHOLE, **options)


def test_annotations_by_file_or_folder(svs: Path, tmp_path: Path) -> None:
    """A folder is searched as --annotations is; without a file that fits, the slide cannot be used."""
    (tmp_path / "drawn").mkdir()
    drawn = tmp_path / "drawn" / "a.7.geojson"
    drawn.write_text(json.dumps(regions_geojson([(Box(x=8, y=3, width=280, height=250), "gland", None)])))
    settings = WHOLE.model_copy(update={"tissue": "annotations"})
    by_file, by_folder = (only(svs, settings, annotations=place) for place in (drawn, drawn.parent))
    assert by_file == by_folder
    assert (by_file.x, by_file.y) == (8, 0)
    (tmp_path / "empty").mkdir()
    with slideprep.open_slide(svs) as slide, pytest.raises(TissueError, match="no annotation file"):
        slideprep.extract(slide, settings, annotations=tmp_path / "empty")


def test_a_region_that_is_left_out_says_why(tmp_path: Path) -> None:
    """It is among the regions, not among those that are read, and reading it is refused with the reason."""
    path = write_svs(tmp_path / "a.svs", picture(200, 256))
    with slideprep.open_slide(path) as slide:
        found = slideprep.extract(slide, WHOLE)
        (region,) = found.regions
        assert len(found) == 0 and list(found) == []
        for call in (found.read, found.fast_difference):
            with pytest.raises(UsageError, match=r"region 0 is left out \(only 25 px on its shorter side"):
                call(region)


def test_a_damaged_tile_is_an_error_of_that_region(svs: Path) -> None:
    """Reading on level 0 meets the tile; the level that fast reads is whole."""
    half_zero_tile(svs, 7)
    with slideprep.open_slide(svs) as slide:
        with pytest.raises(SlideReadError, match="column 2, row 1"):
            list(slideprep.extract(slide, WHOLE))
        assert len(list(slideprep.extract(slide, WHOLE, magnifications=[5], fast=True))) == 1


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_an_image_that_is_cut_off_is_refused(svs: Path, image_format: str) -> None:
    """The decoder behind ``pixels`` passes no damage on."""
    image = only(svs, WHOLE.model_copy(update={"image_format": image_format})).images[10.0]
    assert image.pixels.shape == (128, 160, 3)
    with pytest.raises(ValueError, match=r"\w"):
        decode(image.encoded[: len(image.encoded) // 2], image.image_format)


def test_settings_and_images_cross_between_processes(svs: Path) -> None:
    """What a worker is given and gives back survives the way there and back, unchanged."""
    region = only(svs, also=[7])
    there_and_back = ForkingPickler.loads(bytes(ForkingPickler.dumps((WHOLE, region))))
    assert there_and_back == (WHOLE, region)


def test_settings_of_a_set(tmp_path: Path) -> None:
    """index.json's config gives the settings back; what it holds besides is passed over."""
    built = config(tmp_path / "out", tmp_path, image_format="webp", quality=61, magnification_by="mpp")
    assert ReadSettings.of_config(json.loads(json.dumps(built.record))) == built.reading()
    assert built.reading().quality == 61


def test_settings_that_are_missing_or_refused_are_named(tmp_path: Path) -> None:
    """A config of something else, or one that was edited."""
    record = config(tmp_path / "out", tmp_path).record
    with pytest.raises(UsageError, match=r"config lacks tissue, quality,"):
        ReadSettings.of_config({name: v for name, v in record.items() if name not in ("tissue", "quality")})
    with pytest.raises(
        UsageError, match=r"no shard set was built with .quality: .*less than or equal to 100"
    ):
        ReadSettings.of_config({**record, "quality": 101})
    with pytest.raises(ValidationError, match="--mask-outside applies to annotated regions"):
        ReadSettings(mask_outside=True)


def test_pictures_are_of_whole_pixels_and_no_finer_than_the_scan(svs: Path) -> None:
    """7x of 320 x 256 px at 20x is 112 x 89.6 px, made 90 high; 40x is lowered to 20x; a speck is still a pixel."""
    region = only(svs, also=[7, 40, 0.001])
    seventh, finest, speck = region.also.values()
    assert (seventh.magnification, seventh.factor, seventh.width, seventh.height) == (
        7,
        Fraction(20, 7),
        112,
        90,
    )
    assert (seventh.valid.height, seventh.image_format) == (89, "jpeg")
    assert (finest.magnification, finest.factor, finest.mpp) == (20, 1, 0.5)
    with slideprep.open_slide(svs) as slide:
        level0 = read_level(slide.slide, 0)
    assert np.abs(finest.pixels.astype(int) - level0).mean() < 3
    assert (speck.width, speck.height, speck.valid.width) == (2, 1, 1)


def test_a_picture_keeps_to_what_a_jpeg_can_hold(tmp_path: Path) -> None:
    """A region 66 000 px wide at 20x has a picture of 65 500 px, a little coarser than was asked for."""
    Image.fromarray(np.full((64, 66_000, 3), 200, np.uint8)).save(tmp_path / "a.png", compress_level=1)
    settings = ReadSettings(magnifications=(10,), tissue="whole", objective=20)
    picture_20x = only(tmp_path / "a.png", settings, also=[20]).also[20]
    assert (picture_20x.width, picture_20x.height) == (65_500, 64)
    assert picture_20x.factor == Fraction(66_000, 65_500)


@pytest.mark.parametrize(("magnifications", "level"), [((10,), 1), ((5,), 2), ((2.5,), 2), ((10, 5, 2.5), 1)])
def test_fast_reads_the_coarsest_level_that_is_fine_enough(
    svs: Path, magnifications: tuple[float, ...], level: int
) -> None:
    """The highest wanted magnification decides; regions and sizes are those of level 0."""
    with slideprep.open_slide(svs) as slide:
        slow, fast = (
            slideprep.extract(slide, WHOLE, magnifications=magnifications, fast=f) for f in (False, True)
        )
        assert (slow.level, slow.downsample, fast.level, fast.downsample) == (0, 1, level, 2**level)
        assert fast.regions == slow.regions
        for a, b in zip(
            slow.read(slow.regions[0]).images.values(),
            fast.read(fast.regions[0]).images.values(),
            strict=True,
        ):
            assert (a.width, a.height, a.valid, a.factor) == (b.width, b.height, b.valid, b.factor)
            assert np.abs(a.pixels.astype(int) - b.pixels).mean() < 4


def test_quality_is_measured_where_the_level_read_is_fine_enough(svs: Path) -> None:
    """Unasked, nothing is measured; from level 1 the settings' 10x can be made of a 20x scan, from level 2 not."""
    assert only(svs).quality is None
    quality = only(svs, magnifications=[2.5], quality=True).quality
    assert quality is not None and (quality.ink, quality.folds) == (0, 0)
    assert only(svs, magnifications=[10], fast=True, quality=True).quality is not None
    assert only(svs, magnifications=[5], fast=True, quality=True).quality is None


def test_fast_puts_every_pixel_of_a_level_in_its_place(tmp_path: Path) -> None:
    """Where an image pixel is a pixel of the level, the image is the level, shifted to the region's corner."""
    svs = write_svs(tmp_path / "a.svs", picture(640, 512), levels=3)
    drawn = tmp_path / "a.geojson"
    drawn.write_text(json.dumps(regions_geojson([(Box(x=64, y=128, width=300, height=300), None, None)])))
    settings = WHOLE.model_copy(update={"tissue": "annotations"})
    region = only(svs, settings, annotations=drawn, magnifications=[5], fast=True)
    with slideprep.open_slide(svs) as slide:
        level = read_level(slide.slide, 2)
    image = region.images[5.0]
    x, y = region.x // 4, region.y // 4
    assert (x, y) == (16, 32)
    assert np.array_equal(image.pixels, level[y : y + image.height, x : x + image.width])


def test_fast_pads_as_slow_does(tmp_path: Path) -> None:
    """A slide that is too small for whole cells keeps its background margin."""
    path = write_svs(tmp_path / "a.svs", picture(321, 259), levels=2)
    slow, fast = (only(path, fast=f).images[10.0] for f in (False, True))
    assert (fast.width, fast.valid.width, fast.valid) == (164, 160, slow.valid)
    assert (fast.pixels[:, 160:] == 255).all() and (fast.pixels[:, :160] < 255).any()


def test_fast_lowers_pictures_to_its_level(svs: Path) -> None:
    """A picture never makes a finer level be read, for then the network's image would depend on it."""
    with_picture = only(svs, magnifications=[5], also=[20], fast=True)
    assert with_picture.also[20].magnification == 5
    assert with_picture.images == only(svs, magnifications=[5], fast=True).images


def test_the_price_of_fast_is_measured(svs: Path) -> None:
    """Levels that keep every fourth pixel show what lies 1.5 px further left and up: 0.9 grey levels darker here.

    Green grows by 0.80 a pixel to the right, blue by 1.00 downwards, red by nothing on average.
    """
    with slideprep.open_slide(svs) as slide:
        found = slideprep.extract(slide, WHOLE, magnifications=[5, 2.5], fast=True)
        price = found.fast_difference(found.regions[0])
        coarse = found.fast_difference(found.regions[0], magnification=2.5)
    assert price.pixels == 80 * 64 and coarse.pixels == 40 * 32
    for difference in (price, coarse):
        assert difference.bias == pytest.approx(-(1.5 * 0.80 + 1.5 * 1.00) / 3, abs=0.15)
        assert 0.9 < difference.mean < 3 <= difference.largest


def test_level_0_costs_nothing(svs: Path) -> None:
    """Where fast finds no coarser level, nothing changes."""
    with slideprep.open_slide(svs) as slide:
        found = slideprep.extract(slide, WHOLE)
        price = found.fast_difference(found.regions[0])
    assert (price.mean, price.bias, price.largest) == (0, 0, 0)


def test_the_price_is_measured_on_a_field_in_the_middle(tmp_path: Path) -> None:
    """Of a large region no more than 4 megapixels of level 0 are read, whatever the region's size."""
    path = write_jpeg_tiff(tmp_path / "a.tif", picture(2200, 2100), tile=256, levels=2, mpp=0.5)
    with slideprep.open_slide(path) as slide:
        found = slideprep.extract(slide, WHOLE, magnifications=[10], fast=True)
        assert found.fast_difference(found.regions[0]).pixels == 1000 * 1000
