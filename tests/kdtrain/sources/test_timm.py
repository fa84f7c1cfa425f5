"""A vision transformer of timm as teacher, its weights random, and what it should say computed a second time."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdtrain.augment import IDENTITY, Draw, apply
from kdtrain.data.samples import LoadedSample
from kdtrain.shards.sample import SampleRecord
from kdtrain.sources.callable import CallableTiles
from kdtrain.sources.pixels import IMAGENET_MEAN, IMAGENET_STD
from kdtrain.sources.settings import TileSettings
from kdtrain.sources.tiled import SetImages, TiledSource

pytest.importorskip("timm", reason="needs timm")

PLAIN = TileSettings(
    tile_px=224,
    overlap_px=0,
    mean=None,
    std=None,
    levels=1,
    features_output=None,
    logits_output=None,
    extra=None,
    classes=(),
    precision="fp32",
)
TURNED = Draw(quarter_turns=1, brightness=0.7)
CPU = torch.device("cpu")
TEACHER = """
import timm, torch
torch.manual_seed(0)
model = timm.models.vision_transformer.VisionTransformer(
    img_size=224, patch_size={patch}, embed_dim=24, depth=2, num_heads=3, reg_tokens={registers}, num_classes=0
).eval()

def tokens(tiles):
    return model.forward_features(tiles)
"""


def painted(model: torch.nn.Module, image: Tensor, patch: int, registers: int, cell: int) -> Tensor:
    """Every token on the pixels of its patch, tile by tile, and the mean of every cell: without a line of ours."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    height, width = image.shape[1:]
    total, count = torch.zeros(24, height, width), torch.zeros(1, height, width)
    for top in [*range(0, height - 224, 224), height - 224]:
        for left in [*range(0, width - 224, 224), width - 224]:
            tile = (image[:, top : top + 224, left : left + 224] - mean) / std
            with torch.inference_mode():
                tokens = model.forward_features(tile[None])[0, 1 + registers :]
            grid = tokens.T.reshape(24, 224 // patch, 224 // patch)
            pixels = grid.repeat_interleave(patch, 1).repeat_interleave(patch, 2)
            total[:, top : top + 224, left : left + 224] += pixels
            count[:, top : top + 224, left : left + 224] += 1
    rows, columns = -(-height // cell), -(-width // cell)
    laid = torch.zeros(24, rows, columns)
    for row in range(rows):
        for column in range(columns):
            inside = (
                slice(None),
                slice(row * cell, (row + 1) * cell),
                slice(column * cell, (column + 1) * cell),
            )
            laid[:, row, column] = total[inside].sum(dim=(1, 2)) / count[inside].sum()
    return laid


@pytest.mark.parametrize(("patch", "registers"), [(14, 4), (16, 0)])
def test_a_students_map_at_a_sixteenth_holds_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: int, registers: int
) -> None:
    """20x to 1.25x, stride 4: a cell is 64 px of the teacher; 30 x 22 px have 8 x 6, the last ones in part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"vit_{patch}_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{module}.py").write_text(TEACHER.format(patch=patch, registers=registers))
    network = CallableTiles(f"{module}:tokens", PLAIN, CPU)
    assert network.channels == 24
    image = torch.randint(
        0, 256, (3, 352, 480), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    sample = LoadedSample(
        key="a-r0000",
        images={20.0: image},
        label=None,
        shard="aux1-000000",
        record=SampleRecord.model_construct(),
    )
    source = TiledSource(
        network, SetImages(20.0), magnification=20.0, output_stride=4, classes=(), device=CPU, micro_batch=4
    )
    model = import_module(module).model
    for view, drawn in zip(
        source.views(sample, [IDENTITY, TURNED], (30, 22)), (IDENTITY, TURNED), strict=True
    ):
        wanted = painted(model, apply(image, drawn), patch, registers, cell=64)
        assert view.maps["laid"].shape == ((24, 6, 8) if drawn is IDENTITY else (24, 8, 6))
        assert torch.allclose(view.maps["laid"], wanted, atol=1e-4)
        assert view.valid_HW is not None and bool(view.valid_HW.all())
        assert view.logits_K is None
