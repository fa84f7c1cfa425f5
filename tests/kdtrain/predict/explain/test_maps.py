"""Grad-CAM against autograd, where its cells lie, and occlusion against networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from kdtrain.bundle.runtime import Inference, Pixels
from kdtrain.model.resnet import Model, build_model
from kdtrain.predict.explain.gradcam import grad_cam
from kdtrain.predict.explain.heat_map import HeatMap
from kdtrain.predict.explain.occlusion import BATCH_PIXELS, PatchGrid, blurred_copy, log_odds, occlusion_maps
from kdtrain.predict.explain.regions import explain_region, wanted_classes


def _map(values: list[list[float]], *, step: float = 10.0, first: float = 5.0) -> HeatMap:
    return HeatMap(
        method="occlusion",
        class_index=0,
        values=np.array(values, dtype=np.float32),
        step_x=step,
        step_y=step,
        first_x=first,
        first_y=first,
    )


class Darkness:
    """A network that counts dark pixels: class 0 is for them, class 1 indifferent. It notes what it was asked."""

    name = "by hand"

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def infer(self, images_BHWC: Pixels) -> Inference:
        self.batches.append(images_BHWC.shape)
        dark_B = (images_BHWC.mean(axis=3) < 100).mean(axis=(1, 2))
        logits_BK = np.stack([10 * dark_B, np.zeros_like(dark_B)], axis=1).astype(np.float32)
        odds = np.exp(logits_BK)
        feature_map_BCHW = np.zeros((len(images_BHWC), 4, 2, 3), dtype=np.float32)
        return Inference(odds / odds.sum(axis=1, keepdims=True), logits_BK, feature_map_BCHW)


def _white_with_dark_square(*, x: int, y: int, side: int = 12, width: int = 90, height: int = 70) -> Pixels:
    image = np.full((height, width, 3), 240, dtype=np.uint8)
    image[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 20
    return image


def test_a_map_holds_its_values_at_the_centres_and_goes_straight_between_them() -> None:
    """Centres are at 5 and 15: the value there is the cell's, halfway it is the mean, outside the edge goes on."""
    heat_map = _map([[0, 1], [2, 3]])
    assert heat_map.at(x=np.array([5.0, 10.0, 15.0]), y=np.array([5.0])).tolist() == [[0, 0.5, 1]]
    assert heat_map.at(x=np.array([-3.0, 99.0]), y=np.array([15.0])).tolist() == [[2, 3]]
    pixels = heat_map.at_pixels(width=20, height=20)
    assert pixels.shape == (20, 20)
    assert pixels[4, 4] == 0
    assert pixels[9, 9] == pytest.approx(1.35)  # the pixel's centre is at 9.5


def test_the_peak_is_the_first_largest_cell() -> None:
    """Of two equal cells, the one that is read first."""
    assert _map([[0, 7], [7, 3]]).peak() == (15.0, 5.0)


def _model(stride: int = 32, name: str = "resnet10") -> Model:
    return build_model(name, n_classes=3, output_stride=stride, seed=1).eval()


@pytest.mark.parametrize("stride", [32, 16])
def test_grad_cam_is_what_autograd_computes(stride: int) -> None:
    """The mean gradient of the logit weighs each channel (eq. 1 and 2); ours is that times the number of cells."""
    model = _model(stride)
    features, logits = model(torch.randn(1, 3, 75, 131, generator=torch.Generator().manual_seed(0)))
    (gradient,) = torch.autograd.grad(logits[0, 2], features)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)[0].detach()
    cells = expected.numel()
    for relu in (False, True):
        ours = grad_cam(
            features[0].detach().numpy(),
            model.fc.weight.detach().numpy(),
            class_index=2,
            output_stride=stride,
            relu=relu,
        )
        published = expected.clamp(min=0) if relu else expected
        np.testing.assert_allclose(ours.values, cells * published.numpy(), rtol=1e-4, atol=1e-5)
    assert (expected < 0).any()  # or the two would be the same


def test_the_mean_of_an_uncut_map_is_the_logit_less_its_bias() -> None:
    """So a cell's value is the logit of an image that is everywhere like it."""
    model = _model()
    features, logits = model(torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(3)))
    weights = model.fc.weight.detach().numpy()
    for k in range(3):
        ours = grad_cam(features[0].detach().numpy(), weights, class_index=k, output_stride=32, relu=False)
        assert ours.values.mean() == pytest.approx(
            float((logits[0, k] - model.fc.bias[k]).detach()), rel=1e-4
        )


@pytest.mark.parametrize(("channels", "classes", "class_index"), [(5, 3, 0), (4, 3, 3), (4, 3, -1)])
def test_what_does_not_fit_is_refused(channels: int, classes: int, class_index: int) -> None:
    """Another network's weights, and classes that do not exist."""
    with pytest.raises(ValueError, match=r"class|shape"):
        grad_cam(
            np.zeros((4, 2, 2), np.float32),
            np.zeros((classes, channels), np.float32),
            class_index=class_index,
            output_stride=32,
        )


@pytest.mark.parametrize(
    ("name", "stride"), [("resnet10", 32), ("resnet10", 16), ("resnet10", 8), ("resnet50", 32)]
)
def test_a_cell_is_centred_on_the_pixel_that_its_number_says(name: str, stride: int) -> None:
    """Which pixels a cell depends on: as many left as right of stride * i, from the gradient without GroupNorm.

    All weights are positive, so every ReLU is open; a max-pool hands its gradient to one pixel alone, so a mean over
    the same windows stands for it.
    """
    model = _model(stride, name).double()
    model.maxpool = nn.AvgPool2d(kernel_size=3, stride=2, padding=1)  # type: ignore[assignment]
    for module in list(model.modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, child_name, nn.Identity())
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1e-2)
    cell = 416 // stride
    image = torch.ones(1, 3, 5, 833, dtype=torch.float64, requires_grad=True)
    model(image).feature_map_BCHW[0, 0, 0, cell].backward()
    assert image.grad is not None
    seen = torch.nonzero(image.grad[0].abs().sum(dim=(0, 1))).flatten()
    first, last = int(seen[0]), int(seen[-1])
    assert first > 0
    assert last < 832
    assert (first + last) / 2 == stride * cell
    heat_map = grad_cam(
        np.ones((1, 1, 40), np.float32), np.ones((1, 1), np.float32), class_index=0, output_stride=stride
    )
    assert heat_map.first_x + cell * heat_map.step_x == stride * cell + 0.5


@pytest.mark.parametrize("budget", [1, 7, 49, 100, 300])
@pytest.mark.parametrize(("width", "height"), [(90, 70), (5, 400), (640, 33), (1, 1)])
def test_patches_cover_the_image_within_the_budget(width: int, height: int, budget: int) -> None:
    """No more patches than passes, every pixel in at least one, none empty, centres evenly spread."""
    grid = PatchGrid.of_budget(width=width, height=height, budget=budget)
    patches = grid.patches()
    assert 1 <= len(patches) == grid.rows * grid.columns <= budget
    seen = np.zeros((height, width), dtype=int)
    for rows, columns in patches:
        assert seen[rows, columns].size > 0
        seen[rows, columns] += 1
    assert seen.min() >= 1


def test_neighbouring_patches_overlap_by_half() -> None:
    """100 passes on 100 x 100 pixels: 10 x 10 patches of 20 pixels at steps of 10."""
    patches = PatchGrid.of_budget(width=100, height=100, budget=100).patches()
    assert len(patches) == 100
    assert patches[11] == (slice(5, 25), slice(5, 25))
    assert patches[12] == (slice(5, 25), slice(15, 35))
    assert patches[0] == (slice(0, 15), slice(0, 15))


def test_occlusion_finds_the_only_place_that_counts() -> None:
    """The network looks for dark pixels: the map peaks where they are, and is nought where there are none."""
    image = _white_with_dark_square(x=66, y=23)
    (heat_map,) = occlusion_maps(image, Darkness(), classes=[0], budget=80)
    x, y = heat_map.peak()
    assert abs(x - 66) <= heat_map.step_x
    assert abs(y - 23) <= heat_map.step_y
    assert heat_map.values.max() > 0.05
    assert np.abs(heat_map.at(x=np.arange(35.0), y=np.arange(70.0))).max() == 0


def test_a_class_gains_what_the_other_of_two_loses() -> None:
    """With two classes the log-odds are opposite, so are the maps; a sure network's are not flat."""
    image = _white_with_dark_square(x=30, y=30, side=56)
    for_dark, against = occlusion_maps(image, Darkness(), classes=[0, 1], budget=30)
    np.testing.assert_allclose(for_dark.values, -against.values, atol=1e-6)
    assert (for_dark.class_index, against.class_index) == (0, 1)
    assert for_dark.values.max() > 0.05


def test_log_odds_are_those_of_the_probabilities() -> None:
    """The log of p / (1 - p), also where 1 - p is too small to be written."""
    logits = np.array([[1.0, 0.5, -2.0], [80.0, 0.0, 0.0]], dtype=np.float32)
    p = np.exp(logits[0]) / np.exp(logits[0]).sum()
    ours = log_odds(logits)
    np.testing.assert_allclose(ours[0], np.log(p / (1 - p)), rtol=1e-5)
    assert ours[1, 0] == pytest.approx(80 - np.log(2))


def test_occlusion_asks_in_small_batches_and_tells_of_every_pass() -> None:
    """An image of half a batch's pixels goes two at a time, and the passes that are told are those made."""
    network, told = Darkness(), []
    image = np.full((1024, BATCH_PIXELS // 2048, 3), 200, dtype=np.uint8)
    occlusion_maps(image, network, classes=[0], budget=8, on_pass=told.append)
    assert [shape[0] for shape in network.batches] == [1, 2, 2, 2, 2]
    assert told == [1, 2, 2, 2, 2]


def test_occlusion_leaves_the_image_alone_and_repeats_itself() -> None:
    """The same image gives the same values, bit for bit, and is not changed."""
    image = _white_with_dark_square(x=20, y=40)
    before = image.copy()
    first, second = (occlusion_maps(image, Darkness(), classes=[0], budget=40)[0] for _ in range(2))
    assert first.values.tobytes() == second.values.tobytes()
    assert (image == before).all()


def test_a_blurred_patch_keeps_the_colour_and_loses_the_structure() -> None:
    """Of a checkerboard the mean stays, and hardly any contrast."""
    board = np.where((np.indices((40, 40)).sum(axis=0) % 2)[..., None], 200, 100).repeat(3, axis=2)
    blurred = blurred_copy(board.astype(np.uint8), sigma_px=5)
    assert abs(float(blurred.mean()) - 150) < 1
    assert blurred[8:-8, 8:-8].std() < 2


def test_a_region_is_explained_by_one_pass_and_the_budget() -> None:
    """Grad-CAMs of the classes come first, then their occlusion maps; what was inferred before is not again."""
    network, image = Darkness(), _white_with_dark_square(x=20, y=40)
    weights = np.ones((2, 4), np.float32)
    maps = explain_region(
        image, network, fc_weight_KC=weights, output_stride=32, classes=[1, 0], occlusion_budget=20
    )
    assert [(m.method, m.class_index) for m in maps] == [
        ("grad-cam", 1),
        ("grad-cam", 0),
        ("occlusion", 1),
        ("occlusion", 0),
    ]
    asked = sum(shape[0] for shape in network.batches)
    assert asked == maps[2].values.size + 1 <= 21
    inference = network.infer(image[None])
    network.batches.clear()
    only = explain_region(
        image,
        network,
        fc_weight_KC=weights,
        output_stride=32,
        classes=[0],
        occlusion_budget=0,
        inference=inference,
    )
    assert [m.method for m in only] == ["grad-cam"]
    assert network.batches == []


def test_a_budget_below_nought_is_refused() -> None:
    """It is no number of passes."""
    with pytest.raises(ValueError, match="at least 1"):
        explain_region(
            _white_with_dark_square(x=20, y=40),
            Darkness(),
            fc_weight_KC=np.ones((2, 4), np.float32),
            output_stride=32,
            classes=[0],
            occlusion_budget=-1,
        )


def test_the_region_s_own_class_is_explained_beside_the_slide_s() -> None:
    """Once if they are the same."""
    assert wanted_classes(slide=2, region=0) == (2, 0)
    assert wanted_classes(slide=1, region=1) == (1,)
