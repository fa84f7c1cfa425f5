"""Do maps show what the network learnt? A network trained here on planted discs, and the same with random weights.

After Adebayo et al. (2018, "Sanity checks for saliency maps"): a map that survives the loss of the weights shows the
image, not the network. The pointing game is that of Zhang et al. (2018): does the largest value lie on the disc?
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from kdtrain.bundle.runtime import Floats, Inference, Pixels
from kdtrain.model.resnet import Model, build_model
from kdtrain.predict.explain.agreement import agreement
from kdtrain.predict.explain.heat_map import HeatMap
from kdtrain.predict.explain.regions import explain_region

STRIDE, SIDE, RADIUS, IMAGES = 8, 96, 14, 12
OUTWARDS = ("fc", "layer4", "layer3", "layer2", "layer1", "conv1")
"""Layers in the order in which they lose their weights."""

RED, GREEN, BLUE = np.array([[60, -30, -30], [-30, 60, -30], [-30, -30, 60]], dtype=float)
"""What a disc adds to the grey ground: red means class 0, green class 1; blue means nothing, class 2 is none."""


@dataclass(frozen=True)
class Network:
    """A model as a runtime."""

    model: Model
    name: str = "pytorch on cpu"

    @torch.no_grad()
    def infer(self, images_BHWC: Pixels) -> Inference:
        """Both outputs of grey levels brought to about -4 to 4."""
        features, logits = self.model(_standardised(images_BHWC))
        return Inference(torch.softmax(logits, 1).numpy(), logits.numpy(), features.numpy())

    @property
    def weights(self) -> Floats:
        """Of the fc layer."""
        return np.asarray(self.model.fc.weight.detach().numpy())


def _standardised(images_BHWC: Pixels) -> torch.Tensor:
    return (torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float() - 128) / 32


def _ground(side: int, rng: np.random.Generator) -> np.ndarray:
    return 128 + rng.normal(0, 12, (side, side, 3))


def _add_disc(image: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray) -> None:
    centres = np.arange(len(image)) + 0.5
    image[(centres[:, None] - y) ** 2 + (centres - x) ** 2 < radius**2] += colour


def _training_batch(rng: np.random.Generator) -> tuple[Pixels, np.ndarray]:
    """16 small images, most with a blue disc, two in three with a red or a green one."""
    labels, images = rng.integers(0, 3, 16), []
    for label in labels:
        image = _ground(40, rng)
        for colour in [BLUE] * (rng.random() < 0.7) + [(RED, GREEN)[k] for k in (0, 1) if k == label]:
            _add_disc(image, *rng.uniform(0, 40, 2), rng.uniform(8, 24), colour)
        images.append(image)
    return np.clip(images, 0, 255).round().astype(np.uint8), labels


@cache
def trained() -> Network:
    """Some seconds of training."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    model = build_model("resnet10", n_classes=3, output_stride=STRIDE, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(40):
        images, labels = _training_batch(rng)
        loss = cross_entropy(model(_standardised(images)).logits_BK, torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Network(model.eval())


def _randomised(layers: tuple[str, ...], seed: int) -> Network:
    """The trained network with fresh weights in these layers."""
    model = copy.deepcopy(trained().model)
    fresh = build_model("resnet10", n_classes=3, output_stride=STRIDE, seed=seed)
    for name in layers:
        model.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    return Network(model)


@cache
def _test_images() -> list[tuple[Pixels, int, tuple[float, float]]]:
    """Larger images: in three of the quarters one disc, of the class and twice blue; (image, class, centre)."""
    rng, made = np.random.default_rng(99), []
    for number in range(IMAGES):
        image, label, quarters = _ground(SIDE, rng), number % 2, rng.permutation(4)
        reach = SIDE / 4 - RADIUS
        places = [
            np.array([q % 2, q // 2]) * SIDE / 2 + SIDE / 4 + rng.uniform(-reach, reach, 2)
            for q in quarters[:3]
        ]
        for (x, y), colour in zip(places, ((RED, GREEN)[label], BLUE, BLUE), strict=True):
            _add_disc(image, x, y, RADIUS, colour)
        made.append((np.clip(image, 0, 255).round().astype(np.uint8), label, tuple(places[0])))
    return made


def _maps(network: Network, image: Pixels, label: int, budget: int) -> tuple[HeatMap, ...]:
    return explain_region(
        image,
        network,
        fc_weight_KC=network.weights,
        output_stride=STRIDE,
        classes=[label],
        occlusion_budget=budget,
    )


def _hits(network: Network, budget: int = 36) -> dict[str, float]:
    """The share of images whose largest value lies on the disc of the class, half a cell beside it included."""
    hits: dict[str, list[bool]] = {}
    for image, label, (x, y) in _test_images():
        for heat_map in _maps(network, image, label, budget):
            peak_x, peak_y = heat_map.peak()
            beside = max(heat_map.step_x, STRIDE) / 2
            hit = (peak_x - x) ** 2 + (peak_y - y) ** 2 < (RADIUS + beside) ** 2
            hits.setdefault(heat_map.method, []).append(bool(hit))
    return {method: float(np.mean(values)) for method, values in hits.items()}


def test_the_trained_network_points_at_the_disc_that_decides() -> None:
    """Grad-CAM and occlusion both peak on the disc of the class in at least nine images of ten."""
    hits = _hits(trained())
    assert hits.keys() == {"grad-cam", "occlusion"}
    assert min(hits.values()) >= 0.9, hits


def test_with_random_weights_neither_map_points_there() -> None:
    """Over three draws of all weights, the peaks lie on that disc, one of three, less than every second time."""
    draws = [_hits(_randomised(OUTWARDS, seed=seed)) for seed in (100, 101, 102)]
    for method in ("grad-cam", "occlusion"):
        assert np.mean([hits[method] for hits in draws]) < 0.5, draws


@pytest.mark.parametrize("depth", range(1, len(OUTWARDS) + 1))
def test_a_map_changes_with_every_layer_that_loses_its_weights(depth: int) -> None:
    """From the fc layer down: Grad-CAM's order of places is far from the trained network's at every step."""
    network = _randomised(OUTWARDS[:depth], seed=101)
    found = []
    for image, label, _ in _test_images():
        before, after = (
            explain_region(
                image,
                of,
                fc_weight_KC=of.weights,
                output_stride=STRIDE,
                classes=[label],
                occlusion_budget=0,
                relu=False,
            )[0]
            for of in (trained(), network)
        )
        value = agreement(before, after, width=SIDE, height=SIDE)
        assert value is not None
        found.append(value)
    assert float(np.mean(found)) < 0.7, found
