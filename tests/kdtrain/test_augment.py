"""Augmentation: one draw for all magnifications, the same on every machine, and torchvision's arithmetic."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import astuple, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from kdtrain.augment import IDENTITY, OPERATIONS, AugmentSettings, Draw, apply, apply_batch, draw, standardise

GEOMETRY = [
    Draw(horizontal_flip=h, vertical_flip=v, quarter_turns=turns)
    for h in (False, True)
    for v in (False, True)
    for turns in range(4)
]
OFF = AugmentSettings(
    brightness=0, contrast=0, saturation=0, hue=0, horizontal_flip=False, vertical_flip=False, rotate=False
)


def _image(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def _half(image: Tensor) -> Tensor:
    """Half the magnification: the mean of every 2 x 2 pixels."""
    return torch.nn.functional.avg_pool2d(image, 2)


def _draws(n: int, settings: AugmentSettings | None = None) -> list[Draw]:
    return [draw(settings or AugmentSettings(), seed=0, epoch=0, key=f"slide-{i}") for i in range(n)]


def test_identity_only_rescales() -> None:
    """Without augmentation 0 to 255 become 0 to 1, and settings that are all off draw nothing else."""
    image = _image(4, 6)
    assert torch.equal(apply(image, IDENTITY), image.float() / 255)
    drawn = _draws(20, OFF)
    assert all(replace(d, order=OPERATIONS) == IDENTITY for d in drawn)


def test_draws_are_those_of_every_version_of_numpy() -> None:
    """A thousand draws are those that runs were begun with: one of them here in full, all of them by their SHA-256."""
    drawn = [draw(AugmentSettings(), seed=i % 7, epoch=i % 13, key=f"k{i}") for i in range(1000)]
    assert drawn[0] == Draw(
        order=("contrast", "hue", "brightness", "saturation"),
        brightness=1.2227887064907104,
        contrast=0.7253496690478842,
        saturation=1.3594941446232358,
        hue=-0.0684468886971958,
        quarter_turns=2,
    )
    written = "\n".join(repr(astuple(d)[:8]) for d in drawn)
    assert (
        hashlib.sha256(written.encode()).hexdigest()
        == "f20f1033630f3eed870f0fe451c7bb4bd384e079ae1a84a8363c973c05bdf353"
    )


def test_draws_use_raw_bits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw asks no numpy Generator for anything, whose methods may change what they make of the bits."""
    monkeypatch.delattr("numpy.random.Generator")
    assert draw(AugmentSettings(), seed=0, epoch=0, key="k0").quarter_turns == 2


def test_draw_is_decided_by_seed_epoch_and_key() -> None:
    """The same three give the same draw; another seed, epoch or key gives another."""
    settings = AugmentSettings()
    first = draw(settings, seed=1, epoch=2, key="a")
    assert first == draw(settings, seed=1, epoch=2, key="a")
    others = [
        draw(settings, seed=2, epoch=2, key="a"),
        draw(settings, seed=1, epoch=3, key="a"),
        draw(settings, seed=1, epoch=2, key="b"),
        draw(settings, seed=12, epoch=0, key="a"),
    ]
    assert len({first, *others}) == 5


def test_draw_uses_no_global_generator() -> None:
    """Reseeding PyTorch changes no draw, and drawing leaves its generator where it was."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _draws(3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert first == _draws(3)


def test_switching_one_operation_off_changes_no_other() -> None:
    """Without hue and rotation a sample keeps its brightness, order and flips."""
    for full, less in zip(_draws(20), _draws(20, AugmentSettings(hue=0, rotate=False)), strict=True):
        assert less == replace(full, hue=0.0, quarter_turns=0)


def test_draws_fill_their_ranges_evenly() -> None:
    """4000 draws: factors in 0.5 to 1.5 about 1, hue in ± 0.2 about 0, all orders, flips and turns as often."""
    drawn = _draws(4000)
    for name, centre, half in [
        ("brightness", 1, 0.5),
        ("contrast", 1, 0.5),
        ("saturation", 1, 0.5),
        ("hue", 0, 0.2),
    ]:
        values = torch.tensor([getattr(d, name) for d in drawn], dtype=torch.float64)
        assert centre - half <= values.min() < centre - 0.98 * half
        assert centre + 0.98 * half < values.max() <= centre + half
        assert values.mean().item() == pytest.approx(centre, abs=0.05 * half)
        assert values.std().item() == pytest.approx(half / 3**0.5, rel=0.05)
    cells = Counter((d.horizontal_flip, d.vertical_flip, d.quarter_turns) for d in drawn)
    assert len(cells) == 16 and all(180 < n < 320 for n in cells.values())  # 250 ± 4.5 standard deviations
    orders = Counter(d.order for d in drawn)
    assert len(orders) == 24 and all(110 < n < 225 for n in orders.values())  # 167 ± 4.5 standard deviations


def test_strong_settings_never_give_negative_factors() -> None:
    """A strength of 2 draws factors in [0, 3], as ColorJitter does."""
    values = [d.brightness for d in _draws(300, AugmentSettings(brightness=2.0))]
    assert 0 <= min(values) < 0.1 and 2.9 < max(values) <= 3


@pytest.mark.parametrize("drawn", GEOMETRY)
def test_flips_and_turns_commute_with_downsampling(drawn: Draw) -> None:
    """Augmenting and then halving an 8 x 12 image is the same as halving and then augmenting, bit for bit."""
    image = _image(8, 12).float() / 256  # sums of four are then exact in any order
    assert torch.equal(_half(apply(image, drawn)), apply(_half(image), drawn))


@pytest.mark.parametrize("drawn", [Draw(brightness=1.3), Draw(contrast=1.3), Draw(saturation=1.3)])
def test_linear_colours_commute_with_downsampling(drawn: Draw) -> None:
    """On colours that do not clip, a factor of 1.3 before or after halving differs by rounding only."""
    image = 0.4 + 0.2 * _image(8, 12).float() / 255
    torch.testing.assert_close(_half(apply(image, drawn)), apply(_half(image), drawn), rtol=0, atol=1e-6)


def test_a_whole_draw_is_alike_at_two_magnifications() -> None:
    """On an image of 2 x 2 px blocks, which halving does not blur, every draw commutes with it up to rounding."""
    coarse = _image(6, 5).float() / 255
    fine = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for drawn in _draws(40):
        torch.testing.assert_close(_half(apply(fine, drawn)), apply(coarse, drawn), rtol=0, atol=1e-5)


def test_colours_are_those_of_torchvision() -> None:
    """With the same factors in the same order, ColorJitter gives the same image."""
    jitter = v2.ColorJitter(0.5, 0.5, 0.5, 0.2)
    image = _image(9, 7)
    for drawn in _draws(10):
        parameters = {
            "fn_idx": torch.tensor([OPERATIONS.index(name) for name in drawn.order]),
            **{f"{name}_factor": getattr(drawn, name) for name in OPERATIONS},
        }
        upright = replace(drawn, horizontal_flip=False, vertical_flip=False, quarter_turns=0)
        assert torch.equal(apply(image, upright), jitter.transform(image.float() / 255, parameters))


def test_geometry_of_a_case_done_by_hand() -> None:
    """(1 2 3 / 4 5 6): mirrored, upside down, and a quarter turn anticlockwise, which swaps the sides."""
    image = torch.arange(1, 7, dtype=torch.uint8).view(1, 2, 3).repeat(3, 1, 1)

    def pixels(drawn: Draw) -> list[list[int]]:
        return (apply(image, drawn)[0] * 255).round().int().tolist()

    assert pixels(Draw(horizontal_flip=True)) == [[3, 2, 1], [6, 5, 4]]
    assert pixels(Draw(vertical_flip=True)) == [[4, 5, 6], [1, 2, 3]]
    assert pixels(Draw(quarter_turns=1)) == [[3, 6], [2, 5], [1, 4]]


def test_augmented_images_stay_in_range_and_the_original_untouched() -> None:
    """Results lie in [0, 1] in float32, and neither a uint8 nor a float image is written to."""
    for image in (_image(6, 6), _image(6, 6).float() / 255):
        before = image.clone()
        for drawn in (*_draws(20), IDENTITY):
            result = apply(image, drawn)
            assert result.dtype == torch.float32
            assert result.min() >= 0 and result.max() <= 1
            standardise(result, (128, 128, 128), (50, 50, 50))
        assert torch.equal(image, before)


def test_square_batches_equal_their_images() -> None:
    """Each image of a square micro-batch comes out as it would alone, by its own draw."""
    images, drawn = torch.stack([_image(6, 6, seed) for seed in range(8)]), _draws(8)
    assert len({d.quarter_turns % 2 for d in drawn}) == 2
    alone = [apply(image, d) for image, d in zip(images, drawn, strict=True)]
    assert torch.equal(apply_batch(images, drawn), torch.stack(alone))


@pytest.mark.parametrize(("turns", "shape"), [((1, 0, 2, 3), (4, 3, 6, 4)), ((2, 1, 3, 0), (4, 3, 4, 6))])
def test_batches_that_are_not_square_lie_one_way(turns: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """The first image decides between upright and lying; of the two turns left, each keeps its half."""
    images = torch.stack([_image(4, 6, seed) for seed in range(4)])
    result = apply_batch(images, [Draw(quarter_turns=n) for n in turns])
    assert result.shape == shape
    kept = [n // 2 * 2 + turns[0] % 2 for n in turns]
    alone = [apply(image, Draw(quarter_turns=n)) for image, n in zip(images, kept, strict=True)]
    assert torch.equal(result, torch.stack(alone))


def test_standardising_uses_grey_levels() -> None:
    """Grey 151 of mean 100 and deviation 51 becomes 1, alone and in a batch; statistics are per channel."""
    image = apply(torch.full((3, 2, 2), 151, dtype=torch.uint8), IDENTITY)
    given = standardise(image, (100.0, 151.0, 202.0), (51.0, 1.0, 102.0))
    expected = torch.tensor([1.0, 0.0, -0.5]).view(3, 1, 1).expand(3, 2, 2)
    torch.testing.assert_close(given, expected, rtol=0, atol=2e-5)
    assert torch.equal(standardise(image[None], (100.0, 151.0, 202.0), (51.0, 1.0, 102.0))[0], given)


def test_impossible_input_is_refused() -> None:
    """Strengths out of range, other shapes and types, missing draws and constant statistics are refused."""
    with pytest.raises(ValueError, match=r"hue=0\.6 is not in \[0, 0\.5\]"):
        AugmentSettings(hue=0.6)
    with pytest.raises(ValueError, match=r"contrast=-1 is not in \[0, inf\]; 0 is off"):
        AugmentSettings(contrast=-1)
    with pytest.raises(ValueError, match=r"\(3, H, W\); got shape \(4, 2, 2\)"):
        apply(torch.zeros(4, 2, 2), IDENTITY)
    with pytest.raises(ValueError, match=r"got torch\.int64"):
        apply(torch.zeros(3, 2, 2, dtype=torch.int64), IDENTITY)
    with pytest.raises(ValueError, match=r"1 draws for images of shape \(2, 3, 2, 2\)"):
        apply_batch(torch.zeros(2, 3, 2, 2), [IDENTITY])
    with pytest.raises(ValueError, match=r"all training images are of one colour"):
        standardise(torch.zeros(3, 2, 2), (1, 2, 3), (1, 0, 1))


# Stains


def restained(image_CHW: Tensor, *stain: float) -> Tensor:
    """An image whose stains are changed and nothing else."""
    return apply(image_CHW, replace(IDENTITY, stain=stain))


def of_dyes(*amounts: float) -> Tensor:
    """One pixel (3, 1, 1) in [0, 1] of haematoxylin, eosin and what is perpendicular to both, in float64."""
    dyes = np.array(
        [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], np.cross([0.65, 0.70, 0.29], [0.07, 0.99, 0.11])]
    )
    dyes /= np.linalg.norm(dyes, axis=1, keepdims=True)
    return torch.tensor(10 ** -(np.array(amounts) @ dyes)).reshape(3, 1, 1)


@pytest.mark.parametrize(
    ("stain", "wanted"),
    [
        ((1.1, 1, 1, 0, 0, 0), (0.44, 0.3, 0.02)),
        ((1, 0.9, 1, 0, 0, 0), (0.4, 0.27, 0.02)),
        ((1, 1, 0.5, 0, 0, 0), (0.4, 0.3, 0.01)),
        ((1, 1, 1, 0.05, -0.02, 0.01), (0.45, 0.28, 0.03)),
        ((0.9, 1.1, 1.1, -0.05, 0.05, 0), (0.31, 0.38, 0.022)),
    ],
)
def test_each_dye_is_multiplied_and_added_to_by_itself(stain, wanted):
    """The density of every dye becomes factor times density plus shift, to 1e-9 in float64."""
    given = of_dyes(0.4, 0.3, 0.02)
    assert torch.allclose(restained(given, *stain), of_dyes(*wanted), atol=1e-9, rtol=0)


def test_no_change_of_stains_is_none():
    """Factors of 1 and shifts of 0 give the image back within float32, white is white, and black does not end it."""
    image = torch.randint(0, 256, (3, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image[:, 0, 0], image[:, 0, 1] = 255, 0
    same = restained(image, 1, 1, 1, 0, 0, 0)
    assert torch.allclose(same, image.clamp(min=1) / 255, atol=2e-6)
    darker = restained(image, 1.3, 1.3, 1.3, 0, 0, 0)
    assert darker[:, 0, 0].tolist() == [1, 1, 1]
    assert darker.isfinite().all()
    assert restained(image, 1, 1, 1, -0.5, -0.5, -0.5).max() == 1


def test_a_strength_of_stains_changes_nothing_else_in_the_draw():
    """0 draws what earlier versions drew; above 0, six numbers within the strength come after all others."""
    for i in range(50):
        where = {"seed": 3, "epoch": i, "key": f"k{i}"}
        without = draw(AugmentSettings(), **where)
        drawn = draw(AugmentSettings(stain=0.05), **where)
        assert without.stain is None
        assert replace(drawn, stain=None) == without
        factors, shifts = drawn.stain[:3], drawn.stain[3:]
        assert all(0.95 <= factor <= 1.05 for factor in factors)
        assert all(-0.05 <= shift <= 0.05 for shift in shifts)
        assert len(set(drawn.stain)) == 6


def test_the_strength_of_stains_is_checked():
    """Between 0 and 1, like the command's option."""
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"stain=.* is not in \[0, 1\]"):
            AugmentSettings(stain=wrong)
