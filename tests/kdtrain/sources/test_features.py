"""Features on disk as a teacher: kdtrain/sources/features.py, feature_check.py and feature_misfits.py.

Regions of the set begin at (96, 64) on level 0, and a cell of a student at 2.5x with output stride 8 is 64 level-0
pixels wide, as a patch is. So cell (row i, column j) has patch row 1 + i under it, and of columns the halves of 1 + j
and 2 + j; the patches' vectors are their (column, row, 1).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from fixtures.features import TRIDENT, grid_coords, vectors_at, write_folder, write_h5, write_slide
from fixtures.shard_sets import write_set
from fixtures.training_runs import write_training_set
from kdtrain.augment import IDENTITY, AugmentSettings, Draw, draw
from kdtrain.augment import apply as augmented
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.errors import TrainingError, UsageError
from kdtrain.shards.index import Index, read_index
from kdtrain.sources.feature_check import FeatureSettings, check_features
from kdtrain.sources.features import FeatureSource

SLIDES = ("aux1-0.svs", "aux1-1.svs", "aux1-2.svs", "added-0.svs", "added-1.svs")
STRIDE = 8


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with five unlabelled slides, of one region each."""
    return write_training_set(tmp_path_factory.mktemp("set") / "set")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Features of these slides, which a test may change."""
    return write_folder(tmp_path / "features", SLIDES)


def opened(folder: Path, shards: Path, **settings: Any) -> FeatureSource:
    """The source for aux2, at output stride 8."""
    checked = check_features(FeatureSettings(folder=folder, **settings), read_index(shards), ["aux2"], 2.5)
    return FeatureSource(checked, output_stride=STRIDE)


def refused(folder: Path, shards: Path, **settings: Any) -> str:
    """The words with which a folder is refused."""
    with pytest.raises(UsageError) as caught:
        opened(folder, shards, **settings)
    return str(caught.value)


def samples(shards: Path) -> tuple[Index, list[LoadedSample]]:
    """The samples of aux2 at 2.5x."""
    index = read_index(shards)
    reader = SampleReader(index, "aux2", [2.5])
    refs = [SampleRef(i, p) for i, shard in enumerate(reader.shards) for p in range(shard.samples)]
    loaded = [reader.load(ref) for ref in refs]
    reader.close()
    return index, loaded


def maps(source: FeatureSource, sample: LoadedSample, draws: Sequence[Draw] = (IDENTITY,)) -> list[Any]:
    """(map, mask) of every draw."""
    views = source.views(sample, draws, sample.sizes[2.5])
    return [(view.maps["laid"], view.valid_HW) for view in views]


def test_patches_lie_where_their_coordinates_say(folder: Path, shards: Path) -> None:
    """Columns are halves of two patches, rows are whole ones: (1.5 + j, 1 + i, 1) in every cell."""
    source = opened(folder, shards)
    for sample in samples(shards)[1]:
        ((laid, valid),) = maps(source, sample)
        width, height = sample.sizes[2.5]
        rows, columns = height // STRIDE, width // STRIDE
        assert laid.shape == (3, rows, columns)
        assert laid[0].tolist() == [[1.5 + j for j in range(columns)]] * rows
        assert laid[1].tolist() == [[1.0 + i] * columns for i in range(rows)]
        assert valid.all()
    assert source.channels == 3
    assert source.classes == source.magnifications == source.notes == ()


def test_the_map_turns_with_the_image(folder: Path, shards: Path) -> None:
    """Under every flip and turn, the map is that of the upright region, moved as the student's image is."""
    source = opened(folder, shards)
    sample = samples(shards)[1][1]
    ((upright, _),) = maps(source, sample)
    turns = [
        Draw(horizontal_flip=bool(n & 1), vertical_flip=bool(n & 2), quarter_turns=n >> 2) for n in range(16)
    ]
    for drawn, (laid, valid) in zip(turns, maps(source, sample, turns), strict=True):
        assert torch.equal(laid, augmented(upright, drawn))
        assert valid.all()


def test_colours_change_for_the_student_alone(folder: Path, shards: Path) -> None:
    """A draw of other colours has the view of the image as it is."""
    source = opened(folder, shards)
    sample = samples(shards)[1][0]
    bright, plain = maps(source, sample, (Draw(brightness=2.0, hue=0.1), IDENTITY))
    assert torch.equal(bright[0], plain[0])


def test_an_image_of_half_a_cell_more_turns_about_its_own_edges(folder: Path, shards: Path) -> None:
    """Of 32 px at stride 12 the last cell holds 8: flipped, it is the patches of the other end that fill the first."""
    checked = check_features(FeatureSettings(folder=folder), read_index(shards), ["aux2"], 2.5)
    source = FeatureSource(checked, output_stride=12)
    sample = samples(shards)[1][0]
    ((upright, _), (flipped, _)) = maps(source, sample, (IDENTITY, Draw(horizontal_flip=True)))
    # Level 0 from 96 on: cells of 96 px; patch p spans 64 p to 64 p + 64. Cell 0: 32 px of 1 and 64 px of 2.
    assert upright[0][0].tolist() == pytest.approx([(32 + 128) / 96, (192 + 32 * 4) / 96, 4.5])
    # From the right edge, 352, on: 32 px of 5 and 64 px of 4; 64 of 3 and 32 of 2; 32 of 2 and 32 of 1.
    assert flipped[0][0].tolist() == pytest.approx([(32 * 5 + 256) / 96, (192 + 64) / 96, 1.5])


def test_cells_without_a_patch_do_not_count(folder: Path, shards: Path) -> None:
    """Only patches of the second and third column are there: cells of half a patch count, others do not."""
    coords = grid_coords(1280, 1280)
    few = coords[(coords[:, 0] >= 128) & (coords[:, 0] < 256)]
    for slide in SLIDES:
        write_h5(folder / f"{slide[:-4]}.h5", {"features": vectors_at(few), "coords": few}, TRIDENT)
    ((laid, valid),) = maps(opened(folder, shards), samples(shards)[1][0])
    assert valid.tolist() == [[True, True, True, False]] * 4
    assert laid[0, 0].tolist() == [2.0, 2.5, 3.0, 0.0]


def test_shuffled_rows_in_another_folder_are_the_same_teacher(
    folder: Path, shards: Path, tmp_path: Path
) -> None:
    """Identity and views are those of the content, to the last bit; of float16 vectors they are others."""
    shuffled = tmp_path / "elsewhere"
    for slide in SLIDES:
        with h5py.File(folder / f"{slide[:-4]}.h5") as file:
            features, coords = file["features"][:], file["coords"][:]
        order = np.random.default_rng(0).permutation(len(coords))
        path = shuffled / f"{slide}.h5"
        write_h5(
            path, {"coords": coords[order], "features": features[order]}, {**TRIDENT, "name": slide[:-4]}
        )
    one, other = opened(folder, shards), opened(shuffled, shards)
    assert one.entry == other.entry
    draws = [draw(AugmentSettings(), seed=0, epoch=e, key="k") for e in range(4)]
    for sample in samples(shards)[1]:
        for a, b in zip(maps(one, sample, draws), maps(other, sample, draws), strict=True):
            assert a[0].numpy().tobytes() == b[0].numpy().tobytes()
    changed = vectors_at(grid_coords(1280, 1280)) + 1
    write_h5(
        folder / "added-1.h5",
        {"features": changed, "coords": grid_coords(1280, 1280)},
        {**TRIDENT, "name": "added-1"},
    )
    assert opened(folder, shards).entry.sha256 != one.entry.sha256


def test_the_record_says_what_it_was_and_not_where(folder: Path, shards: Path) -> None:
    """Encoder and magnification of the files, and counts; the folder's name is no part of it."""
    for slide in SLIDES:
        with h5py.File(folder / f"{slide[:-4]}.h5", "a") as file:
            file["features"].attrs["encoder"] = "uni_v2"
    entry = opened(folder, shards).entry
    assert (entry.kind, entry.name, entry.magnification) == ("features", "uni_v2", 10)
    assert entry.settings == {"slides": 5, "slides_without": 0, "regions": 5, "regions_without": 0}


def test_too_many_slides_without_features_are_listed(folder: Path, shards: Path) -> None:
    """By name, with what the folder has besides and what is nearly alike; a larger share can be allowed."""
    (folder / "aux1-1.h5").rename(folder / "AUX1_1.h5")
    said = refused(folder, shards)
    assert "1 of 5 slides have no features" in said
    assert "--missing-share says how many may lack one, 5% now" in said
    assert (
        "'aux1-1.svs'; the folder also has 'AUX1_1.h5' (nearly alike: 'AUX1_1.h5' for 'aux1-1.svs')" in said
    )
    source = opened(folder, shards, most_missing=0.5)
    assert source.entry.settings["slides_without"] == source.entry.settings["regions_without"] == 1
    assert "1 of 5 slides have no features" in source.notes[0]
    assert "1 file in" in source.notes[1]
    sample = next(s for s in samples(shards)[1] if s.slide == "aux1-1.svs")
    ((laid, valid),) = maps(source, sample)
    assert not laid.any()
    assert not valid.any()


def test_a_folder_of_other_slides_is_refused_whatever_may_be_missing(folder: Path, shards: Path) -> None:
    """Where nothing fits, no share helps."""
    for path in folder.iterdir():
        path.rename(folder / f"other-{path.name}")
    assert "5 of 5 slides" in refused(folder, shards, most_missing=1.0)


def test_a_split_without_samples_is_refused(shards: Path, folder: Path, tmp_path: Path) -> None:
    """There is nothing to hold features against."""
    empty = write_set(tmp_path / "set", {"train": [2], "aux1": [0]}, unlabelled=["aux1"])
    with pytest.raises(UsageError, match="there is no sample in aux1"):
        check_features(FeatureSettings(folder=folder), read_index(empty), ["aux1"], 2.5)


def test_a_region_without_a_patch_is_named(folder: Path, shards: Path) -> None:
    """Slide, region and remedy; where a few may lack one, it is counted and has no cell that counts."""
    write_h5(
        folder / "added-0.h5", {"features": np.ones((1, 3), np.float32), "coords": [[640, 640]]}, TRIDENT
    )
    said = refused(folder, shards)
    assert "lies on 1 of 5 regions: slide 'added-0.svs' region 0; extract features" in said
    assert "--missing-share says how many may lack one, 5% now" in said
    source = opened(folder, shards, most_missing=0.2)
    assert source.entry.settings["regions_without"] == 1
    assert "1 of 5 regions have no patch on them: slide 'added-0.svs' region 0" in source.notes[0]


def test_a_slide_without_patches_counts_as_regions_without(folder: Path, shards: Path) -> None:
    """TRIDENT's file of a slide without tissue is there, and holds nothing."""
    datasets = {"features": np.empty(0, np.float32), "coords": np.empty((0, 2), np.int64)}
    write_h5(folder / "aux1-0.h5", datasets, TRIDENT)
    source = opened(folder, shards, most_missing=0.2)
    sample = next(s for s in samples(shards)[1] if s.slide == "aux1-0.svs")
    assert not maps(source, sample)[0][1].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"level0_width": 9, "level0_height": 9},
            "is of a slide of 9 x 9 level-0 pixels, and the set's has 4000 x 3000",
        ),
        ({"name": "aux1-1"}, "says that it is of 'aux1-1', another slide of the set"),
        (
            {"level0_magnification": 40, "patch_size": 16},
            "is of a scan of 40x, and the set's slide is one of 20x",
        ),
        (
            {"size": (4200, 64)},
            "lie beyond the slide's 4000 x 3000 level-0 pixels (one at 4032, 0)",
        ),
    ],
)
def test_features_of_another_slide_are_refused(
    folder: Path, shards: Path, change: dict[str, Any], words: str
) -> None:
    """By the size, the name or the scan that a file states, or by patches beyond the slide."""
    write_slide(folder / "aux1-0.h5", **change)
    said = refused(folder, shards)
    assert said.startswith("slide 'aux1-0.svs': ")
    assert words in said


@pytest.mark.parametrize(
    ("channels", "change", "words"),
    [
        (4, {}, "channels 4 and 3"),
        (3, {"target_magnification": 5, "patch_size": 16}, "magnification 5.0 and 10.0"),
        (3, {"patch_size": 64, "patch_size_level0": 128}, "pixels a patch 64.0 and 32.0"),
    ],
)
def test_files_of_several_encoders_are_refused(
    folder: Path, shards: Path, channels: int, change: dict[str, Any], words: str
) -> None:
    """Vectors of another length, or of patches of another size, are no map of one teacher."""
    coords = grid_coords(640, 640)
    datasets = {"features": np.ones((len(coords), channels), np.float32), "coords": coords}
    write_h5(folder / "added-1.h5", datasets, {**TRIDENT, **change})
    said = refused(folder, shards)
    assert words in said
    assert "give a folder of one encoder at one magnification" in said


def test_a_fault_in_a_file_names_the_slide(folder: Path, shards: Path) -> None:
    """Not only the file: NaN features of aux1-2."""
    coords = grid_coords(640, 640)
    datasets = {"features": np.full((len(coords), 3), np.nan, np.float32), "coords": coords}
    write_h5(folder / "aux1-2.h5", datasets, TRIDENT)
    assert refused(folder, shards).startswith("slide 'aux1-2.svs': ")


def test_a_file_that_changes_meanwhile_stops_the_command(folder: Path, shards: Path) -> None:
    """What was checked is what is cached: the sample names slide and region."""
    source = opened(folder, shards)
    sample = samples(shards)[1][0]
    shutil.copy(folder / "aux1-1.h5", folder / "aux1-0.h5")
    coords = grid_coords(640, 640)
    write_h5(folder / "aux1-0.h5", {"features": vectors_at(coords), "coords": coords}, TRIDENT)
    with pytest.raises(TrainingError, match=r"region 0 of slide 'aux1-0.svs': .* has changed since"):
        maps(source, sample)


def test_clams_folder_of_patches_gives_the_size(folder: Path, shards: Path, tmp_path: Path) -> None:
    """Features without attributes, and patches/<slide>.h5 beside: the same views as of TRIDENT's files."""
    clam, patches = tmp_path / "clam" / "h5_files", tmp_path / "clam" / "patches"
    coords = grid_coords(1280, 1280)
    for slide in SLIDES:
        name = f"{slide[:-4]}.h5"
        write_h5(clam / name, {"features": vectors_at(coords), "coords": coords.astype(np.int32)})
        write_h5(
            patches / name, {"coords": coords}, {"patch_size": 32, "patch_level": 1, "downsample": (2.0, 2.0)}
        )
    assert "add --patch-size-level0" in refused(clam, shards)
    sample = samples(shards)[1][0]
    wanted = maps(opened(folder, shards), sample)[0][0]
    for settings in ({"patches": patches}, {"patch_size_level0": 64}):
        source = opened(clam, shards, **settings)
        assert torch.equal(maps(source, sample)[0][0], wanted)
        assert source.entry.magnification is None
