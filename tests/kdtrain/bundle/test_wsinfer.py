"""kdtrain export --wsinfer: what WSInfer asks for, tiles that cover an image, a file that is the network."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fixtures.training_runs import kdtrain
from kdtrain.bundle.tile_cost import summed_up, tiles_of
from kdtrain.bundle.torchscript import torchscript_bytes
from kdtrain.bundle.wsinfer import config_bytes, tile_starts, tiling_of
from kdtrain.bundle.wsinfer_card import cost_lines
from kdtrain.errors import UsageError
from kdtrain.evaluation.predictions import Prediction
from kdtrain.model.network import Network
from kdtrain.model.resnet import build_model

NETWORK = Network(
    model="resnet10",
    output_stride=16,
    classes=("gland", "stroma"),
    magnification=2.5,
    mean=(204.0, 153.0, 178.5),
    std=(51.0, 51.0, 25.5),
)
KEYS = "spec_version architecture num_classes class_names patch_size_pixels spacing_um_px transform"


def test_tiles_are_the_typical_side_in_whole_cells_at_the_median_spacing() -> None:
    """Of shorter sides 70, 75, 90 the middle has 64 px in whole cells of 16; of 4, 4.2, 5 µm the middle is 4.2."""
    tiling = tiling_of([(100, 70), (75, 300), (90, 91)], [4.0, None, 5.0, 4.2], 16, run="run")
    assert (tiling.patch_px, tiling.spacing_um) == (64, 4.2)
    assert (tiling.spacing_min_um, tiling.spacing_max_um) == (4.0, 5.0)


def test_a_tile_is_never_smaller_than_the_network_takes() -> None:
    """Images of 20 px at stride 32: no whole cell fits, and a tile of one is shown."""
    assert tiling_of([(20, 20)], [1.0], 32, run="run").patch_px == 32


def test_unknown_spacing_is_refused() -> None:
    """No slide said how large its pixels are, so WSInfer could find no tile."""
    with pytest.raises(UsageError, match=r"carry no mpp.*build the set with --mpp"):
        tiling_of([(100, 70)], [None, None], 16, run="run")


def test_the_config_has_the_seven_keys_of_the_schema_and_colours_from_0_to_1() -> None:
    """204 of 255 is 0.8; ``size`` is one number, as QuPath reads it; ToTensor has no arguments."""
    tiling = tiling_of([(100, 70)], [4.0], 16, run="run")
    data = config_bytes(NETWORK, tiling)
    content = json.loads(data)
    assert list(content) == KEYS.split()
    assert content["spec_version"] == "1.0"
    assert content["class_names"] == ["gland", "stroma"]
    assert (content["num_classes"], content["patch_size_pixels"], content["spacing_um_px"]) == (2, 64, 4.0)
    resize, to_tensor, normalise = content["transform"]
    assert resize == {"name": "Resize", "arguments": {"size": 64}}
    assert to_tensor == {"name": "ToTensor"}
    assert normalise["name"] == "Normalize"
    assert normalise["arguments"]["mean"] == pytest.approx([0.8, 0.6, 0.7])
    assert normalise["arguments"]["std"] == pytest.approx([0.2, 0.2, 0.1])
    assert config_bytes(NETWORK, tiling) == data


@pytest.mark.parametrize(
    ("side", "starts"),
    [(64, [0]), (50, [0]), (128, [0, 64]), (100, [0, 36]), (161, [0, 48, 97])],
    ids=["one", "less than one", "two", "overlapping", "three"],
)
def test_tiles_cover_a_side_and_end_with_it(side: int, starts: list[int]) -> None:
    """As few tiles of 64 as cover it; the last ends where the side does."""
    assert tile_starts(side, 64) == starts


def test_what_an_image_lacks_of_a_tile_is_white() -> None:
    """A black image of 70 x 40 px and tiles of 64: two that overlap, whose lower 24 rows are white."""
    tiles = tiles_of(np.zeros((40, 70, 3), np.uint8), 64)
    assert tiles.shape == (2, 64, 64, 3)
    assert tiles[:, :40].max() == 0
    assert tiles[:, 40:].min() == 255


def _said(shares: list[float]) -> list[Prediction]:
    """Images 0, 1, ... of classes 0, 1, 0, 1, each a patient."""
    return [
        Prediction(key=f"k{n}", slide=f"s{n}", patient=f"p{n}", label=n % 2, probabilities=(share, 1 - share))
        for n, share in enumerate(shares)
    ]


def test_the_cost_of_tiles_is_of_the_same_images_both_ways() -> None:
    """Whole all four are right; by tiles the last is taken for the other: 100 against 75 %."""
    cost = summed_up(
        _said([0.9, 0.1, 0.8, 0.4]), _said([0.8, 0.1, 0.8, 0.6]), ("a", "b"), split="test", tiles=11
    )
    assert (cost.images, cost.tiles, cost.same_class) == (4, 11, 0.75)
    assert cost.largest_change == pytest.approx(0.2)
    assert cost.mean_change == pytest.approx((0.1 + 0.2) / 4)
    assert cost.levels["slide"]["whole"] == 1
    assert cost.levels["slide"]["tiles"] == 0.75
    assert cost.levels["slide"]["low"] <= -0.25 <= cost.levels["slide"]["high"]
    first, second, _ = cost_lines(cost)
    assert first.startswith("4 images of the test split, cut into 11 tiles: 75.0% keep their class")
    assert "100.0 % whole, 75.0 % by tiles, -25.0 points (95 % interval" in second


def test_what_was_not_measured_is_said() -> None:
    """Without an evaluation the card does not pretend that tiles cost nothing."""
    assert next(cost_lines(None)).startswith("what square tiles cost was not measured")


def test_the_file_gives_calibrated_logits_and_names_nothing_of_here() -> None:
    """One tensor, logits by the temperature, at any size; and no path of this machine."""
    model = build_model("resnet10", n_classes=2, output_stride=16, width=0.25, seed=0).eval()
    data = torchscript_bytes(model, 2.0, patch_px=48)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not [name for name in archive.namelist() if "debug" in name]
        assert not any(str(Path.cwd()).encode() in archive.read(name) for name in archive.namelist())
    written = torch.jit.load(io.BytesIO(data))
    for batch, height, width in ((1, 48, 48), (3, 64, 80)):
        images = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            assert torch.allclose(written(images), model(images).logits_BK / 2, atol=1e-6)


def test_a_run_becomes_a_folder_that_wsinfer_reads(
    evaluated_teacher: Path, shards: Path, tmp_path: Path
) -> None:
    """Three files; the card says what tiles cost; another folder of that name is not overwritten."""
    told = ("export", evaluated_teacher, "--shards", shards, "--wsinfer", "--out")
    done = kdtrain(*told, tmp_path / "model")
    assert done.code == 0, done.said
    assert "tiles of" in done.said
    assert "wsinfer run --wsi-dir SLIDES" in done.said
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert sorted(files) == ["README.md", "config.json", "torchscript_model.pt"]
    card = files["README.md"].decode()
    assert "balanced accuracy by slide" in card
    assert "User model directory" in card
    assert json.loads(files["config.json"])["num_classes"] == len(
        json.loads(files["config.json"])["class_names"]
    )
    (tmp_path / "model" / "config.json").write_text("{}")
    assert "nothing is ever overwritten" in kdtrain(*told, tmp_path / "model").said
