"""Samples to tensors: one draw for all magnifications of a sample, each standardised by its own statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fixtures.training_runs import write_training_set
from kdtrain.augment import AugmentSettings, draw
from kdtrain.data.inputs import NO_DRAWING, Drawing, image_batch, label_batch
from kdtrain.data.samples import LoadedSample
from kdtrain.data.stream import EvaluationStream
from kdtrain.model.network import Network
from kdtrain.shards.index import read_index

CPU = torch.device("cpu")
FLIPS = AugmentSettings(brightness=0, contrast=0, saturation=0, hue=0)
"""Flips and quarter turns alone."""


def network(magnification: float, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)) -> Network:
    """Fed at a magnification; by default grey levels become 0 to 1."""
    return Network(
        model="resnet10",
        output_stride=32,
        classes=("a", "b"),
        magnification=magnification,
        mean=mean,
        std=std,
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[LoadedSample]:
    """The five training samples at 10x and 2.5x."""
    folder = write_training_set(tmp_path_factory.mktemp("sets") / "set")
    return list(EvaluationStream(read_index(folder), "train", [10, 2.5]))


def test_without_a_draw_pixels_are_only_standardised(samples):
    """(pixel - mean) / std in grey levels, channel by channel, in float32."""
    mean, std = (200.0, 100.0, 50.0), (10.0, 20.0, 40.0)
    batch = image_batch(samples[:1], network(2.5, mean, std), NO_DRAWING, CPU)
    pixels = samples[0].images[2.5].numpy().astype(np.float64)
    expected = (pixels - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    assert batch.dtype == torch.float32
    assert np.allclose(batch[0].numpy(), expected, atol=1e-5)


def test_both_magnifications_turn_alike(samples):
    """The reduced 10x image, flipped and turned by its draw, is the 2.5x image under its draw."""
    drawing = Drawing(settings=FLIPS, seed=4)
    turned = 0
    for sample in (replace(sample, view=2) for sample in samples):
        coarse = torch.nn.functional.avg_pool2d(sample.images[10].float(), 4).round().to(torch.uint8)
        reduced = replace(sample, images={10: coarse, 2.5: sample.images[2.5]})
        high = image_batch([reduced], network(10), drawing, CPU)
        low = image_batch([sample], network(2.5), drawing, CPU)
        assert high.shape == low.shape
        assert (high - low).abs().mean() < 0.02
        plain = image_batch([sample], network(2.5), NO_DRAWING, CPU)
        turned += plain.shape != low.shape or bool((plain - low).abs().mean() > 0.02)
    assert turned >= 2


def test_a_draw_depends_on_seed_view_and_key_alone(samples):
    """The same three give the same draw, that of augment.draw; another of any gives another."""
    drawing = Drawing(settings=AugmentSettings(), seed=1)
    first, other = (replace(sample, view=1) for sample in samples[:2])
    drawn = drawing.of(first)
    assert drawn == drawing.of(replace(other, key=first.key))
    assert drawn == draw(AugmentSettings(), seed=1, epoch=1, key=first.key)
    others = [drawing.of(other), drawing.of(replace(first, view=2)), replace(drawing, seed=2).of(first)]
    assert all(other != drawn for other in others)


def test_labels_come_in_the_order_of_the_batch(samples):
    """Training samples 0 to 4 have the classes 0, 1, 0, 1, 0."""
    by_slide = sorted(samples, key=lambda sample: sample.slide)
    assert label_batch(by_slide, CPU).tolist() == [0, 1, 0, 1, 0]
    assert label_batch(by_slide, CPU).dtype == torch.int64
