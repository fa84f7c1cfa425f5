"""A region cut into tiles, asked about and laid: kdtrain/sources/tiled.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from kdtrain.augment import IDENTITY, Draw, apply
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import LoadedSample, SampleReader
from kdtrain.errors import TrainingError
from kdtrain.shards.index import read_index
from kdtrain.sources.outputs import OutputError, Said
from kdtrain.sources.tiled import PROBE_PX, SetImages, TiledSource, probe_tile
from kdtrain.sources.tiles import TilePlan

TURNED = Draw(quarter_turns=1, horizontal_flip=True, brightness=0.5)


class Colours:
    """A network whose vectors are the mean colours of patches, and whose logits are the mean of red and of green."""

    kind: Literal["callable"] = "callable"
    name = "fixtures:colours"
    sha256 = "0" * 64
    channels = 3
    gives_logits = True

    def __init__(self, plan: TilePlan, patch: int = 8) -> None:
        self.plan = plan
        self.settings: dict[str, Any] = plan.record
        self.asked: list[tuple[int, ...]] = []
        self._patch = patch

    def say(self, tiles_BCHW: Tensor) -> Said:
        """Colours of tiles."""
        self.asked.append(tuple(tiles_BCHW.shape))
        return Said(
            map_BChw=avg_pool2d(tiles_BCHW, self._patch), logits_BK=tiles_BCHW.mean(dim=(2, 3))[:, :2]
        )


@pytest.fixture(scope="module")
def sample(shards: Path) -> LoadedSample:
    """The second of aux1: 160 x 128 px at 10x, 40 x 32 px at 2.5x."""
    return SampleReader(read_index(shards), "aux1", [10.0]).load(SampleRef(0, 1))


def source(network: Any, **settings: Any) -> TiledSource:
    """A teacher of a student at 2.5x and stride 8: a cell is 32 px at 10x."""
    given = {"magnification": 10.0, "output_stride": 8, "classes": ("gland", "stroma"), **settings}
    return TiledSource(network, SetImages(10.0), device=torch.device("cpu"), **given)


def test_tiles_that_share_a_region_evenly_give_its_means(sample: LoadedSample) -> None:
    """32 px tiles of 8 px patches: each cell of the student is the mean colour of its 32 px, turned as the image is."""
    found = source(Colours(TilePlan(height=32, width=32)), micro_batch=3).views(
        sample, [IDENTITY, TURNED], (40, 32)
    )
    for view, drawn in zip(found, (IDENTITY, TURNED), strict=True):
        image = apply(sample.images[10.0], drawn)
        assert torch.allclose(view.maps["laid"], avg_pool2d(image, 32), atol=1e-4)
        assert view.valid_HW is not None and bool(view.valid_HW.all())
        assert view.logits_K is not None
        assert torch.allclose(view.logits_K, image.mean(dim=(1, 2))[:2], atol=1e-4)
    assert found[0].maps["laid"].shape == (3, 4, 5)
    assert found[1].maps["laid"].shape == (3, 5, 4)


def test_tiles_go_through_the_network_in_batches(sample: LoadedSample) -> None:
    """Twenty tiles by eight: eight, eight and four; the views are the same as one by one."""
    network = Colours(TilePlan(height=32, width=32))
    eight = source(network, micro_batch=8).views(sample, [IDENTITY], (40, 32))[0]
    assert [shape[0] for shape in network.asked] == [8, 8, 4]
    one = source(Colours(TilePlan(height=32, width=32))).views(sample, [IDENTITY], (40, 32))[0]
    assert torch.equal(eight.maps["laid"], one.maps["laid"])


def test_a_region_whole_is_asked_about_once(sample: LoadedSample) -> None:
    """One tile of the region's size, and the same map."""
    network = Colours(TilePlan(height=0, width=0))
    view = source(network, micro_batch=8).views(sample, [IDENTITY], (40, 32))[0]
    assert network.asked == [(1, 3, 128, 160)]
    assert torch.allclose(view.maps["laid"], avg_pool2d(apply(sample.images[10.0], IDENTITY), 32), atol=1e-4)


def test_a_tile_larger_than_the_region_is_padded_and_laid_as_far_as_the_region_goes(
    sample: LoadedSample,
) -> None:
    """256 px tiles on 160 x 128 px: white around changes no cell, as each patch lies wholly in or out."""
    network = Colours(TilePlan(height=256, width=256))
    view = source(network).views(sample, [IDENTITY], (40, 32))[0]
    assert network.asked == [(1, 3, 256, 256)]
    assert torch.allclose(view.maps["laid"], avg_pool2d(apply(sample.images[10.0], IDENTITY), 32), atol=1e-4)
    assert view.valid_HW is not None and bool(view.valid_HW.all())


def test_logits_weigh_tiles_by_what_they_have_of_the_region(sample: LoadedSample) -> None:
    """Two tiles of 128 px, 80 and 80 px wide apart by 32: red of both, each with its 128 x 128 px."""
    network = Colours(TilePlan(height=128, width=128))
    view = source(network).views(sample, [IDENTITY], (40, 32))[0]
    red = apply(sample.images[10.0], IDENTITY)[0]
    assert view.logits_K is not None
    assert float(view.logits_K[0]) == pytest.approx(
        float((red[:, :128].mean() + red[:, 32:].mean()) / 2), abs=1e-4
    )


def test_what_it_is_is_recorded() -> None:
    """Kind, name, content and magnification, how it is asked, and where images come from; logits are the set's."""
    made = source(Colours(TilePlan(height=32, width=32, overlap_px=4)))
    assert made.entry.model_dump() == {
        "kind": "callable",
        "name": "fixtures:colours",
        "sha256": "0" * 64,
        "magnification": 10.0,
        "settings": {"tile_px": [32, 32], "overlap_px": 4, "images": "set"},
    }
    assert (made.channels, made.classes, made.magnifications) == (3, ("gland", "stroma"), (10.0,))
    quiet = Colours(TilePlan(height=0, width=0))
    quiet.gives_logits = False
    assert source(quiet).classes == ()


class Failing(Colours):
    """Fails at its third tile, or gives other channels there."""

    words = "raised ValueError: no"

    def say(self, tiles_BCHW: Tensor) -> Said:
        """Colours of two tiles."""
        if len(self.asked) < 2:
            return super().say(tiles_BCHW)
        if self.words:
            raise OutputError(self.words)
        return Said(map_BChw=torch.ones(1, 4, 4, 4), logits_BK=None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("raised ValueError: no", "raised ValueError: no"),
        ("", "gives 4 channels, and gave 3 when it was tried"),
    ],
)
def test_a_failure_names_slide_and_region(sample: LoadedSample, words: str, said: str) -> None:
    """In one message, with the region's size and what to do."""
    network = Failing(TilePlan(height=32, width=32))
    network.words = words
    with pytest.raises(TrainingError) as caught:
        source(network).views(sample, [IDENTITY], (40, 32))
    assert str(caught.value).startswith(
        f"--from fixtures:colours {said}: region {sample.key} of slide 'aux1-1.svs', 160 x 128 px; what was written"
    )


def test_the_picture_that_networks_are_tried_on_is_fixed() -> None:
    """Noise in all grey levels, the same on every machine and at every version; of the tile's size, or 256 px."""
    tile = probe_tile(TilePlan(height=2, width=3))
    assert (tile * 255).round().int().flatten().tolist() == FIRST
    whole = probe_tile(TilePlan(height=0, width=0))
    assert whole.shape == (1, 3, PROBE_PX, PROBE_PX)
    assert len(whole.unique()) == 256 and abs(float(whole.mean()) - 0.5) < 0.01


FIRST = [7, 247, 151, 199, 31, 224, 184, 75, 248, 20, 172, 100, 158, 50, 91, 245, 168, 196]
"""By the same arithmetic in whole numbers of Python."""
