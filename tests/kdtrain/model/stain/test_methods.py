"""Two stains in known amounts in, what the methods make of them out; every expected value by the definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kdtrain.model.stain.density import averaged_down, densities, is_stained, tissue_of
from kdtrain.model.stain.macenko import MacenkoStain, density_map, macenko_stain
from kdtrain.model.stain.normalise import normalise
from kdtrain.model.stain.reinhard import (
    LAB_OF_LMS,
    LMS_OF_RGB,
    ReinhardStain,
    log_lms_map,
    reinhard_stain,
)
from kdtrain.model.stain.target import StainTarget, stain_of, target_of

HAEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
OTHER_BLUE, OTHER_PINK = np.array([0.55, 0.75, 0.36]), np.array([0.15, 0.95, 0.20])
AT = 1.25
"""Where nothing is averaged."""


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of length 1."""
    return vector / np.linalg.norm(vector)


def amounts(rows: int = 60, columns: int = 60) -> NDArray[np.float64]:
    """(rows, columns, 2) amounts of two stains, each from 0 to 1, every pair alike often."""
    one, other = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    return np.stack([one, other], axis=-1)


def painted(
    first: NDArray[np.float64], second: NDArray[np.float64], strong: tuple[float, float] = (1.2, 0.9)
) -> NDArray[np.uint8]:
    """An image of two stains, by the law of Beer and Lambert, beside twenty columns of glass."""
    vectors = np.stack([unit(first) * strong[0], unit(second) * strong[1]])
    levels = np.rint(255 * 10 ** -(amounts() @ vectors)).astype(np.uint8)
    return np.concatenate([np.full((60, 20, 3), 255, np.uint8), levels], axis=1)


def target(method, image: NDArray[np.uint8] | None = None) -> StainTarget:
    """The stain of an image, haematoxylin and eosin if none is given."""
    stain = stain_of(painted(HAEMATOXYLIN, EOSIN) if image is None else image, method, AT)
    assert stain is not None
    return target_of([stain])


def test_the_density_of_white_is_none_and_of_a_tenth_of_it_is_one():
    """-log10 of the share of light that comes through; black counts as the darkest level that has a logarithm."""
    assert densities(np.array([[255, 255, 255]], np.uint8)).tolist() == [[0, 0, 0]]
    assert densities(np.array([26, 1, 0], np.uint8)) == pytest.approx([0.9916, 2.4065, 2.4065], abs=1e-4)


def test_tissue_is_what_is_denser_than_the_threshold():
    """Level 181 has a density of 0.149, level 180 one of 0.151."""
    levels = np.array([[181, 181, 181], [180, 180, 180], [255, 255, 20]], np.uint8)
    assert is_stained(densities(levels)).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("shape", "magnification", "wanted"),
    [
        ((480, 640), 10.0, (60, 80)),
        ((480, 640), 0.625, (480, 640)),
        ((120, 160), 2.5, (60, 80)),
        ((224, 224), 40.0, (32, 32)),
        ((30, 20), 10.0, (30, 20)),
    ],
)
def test_a_stain_is_estimated_at_one_scale_of_an_image_of_enough_pixels(shape, magnification, wanted):
    """1.25x of any magnification; but 1,024 pixels stay, and nothing is enlarged."""
    image = np.full((*shape, 3), 200, np.uint8)
    assert averaged_down(image, magnification).shape == (*wanted, 3)


def test_averaging_takes_the_mean_of_the_pixels_under_each():
    """A board of 100 and 200 is 150 everywhere at half the scale."""
    board = np.where(np.indices((80, 80)).sum(axis=0) % 2, 200, 100).astype(np.uint8)
    small = averaged_down(np.repeat(board[..., None], 3, axis=2), 2.5)
    assert small.shape == (40, 40, 3)
    assert (small == 150).all()


def test_macenko_finds_the_stains_and_how_strong_they_are():
    """Of two painted stains within 3 degrees, haematoxylin first in either order; the strongest within 8 %."""
    for first, second in ((HAEMATOXYLIN, EOSIN), (EOSIN, HAEMATOXYLIN)):
        found = macenko_stain(-np.log10(painted(first, second, (1.0, 1.0))[:, 20:].reshape(-1, 3) / 255.0))
        for vector, truth in zip(found.vectors, (HAEMATOXYLIN, EOSIN), strict=True):
            assert np.degrees(np.arccos(np.dot(vector, unit(truth)))) < 3
        assert found.strongest == pytest.approx((1, 1), rel=0.08)


def test_macenkos_map_turns_amounts_of_one_stain_into_the_same_share_of_the_other():
    """Known stains, in float64: a half of the strongest is a half of the target's strongest, and nothing is nothing."""
    ours = MacenkoStain(vectors=(tuple(unit(OTHER_BLUE)), tuple(unit(OTHER_PINK))), strongest=(0.8, 0.6))
    theirs = MacenkoStain(vectors=(tuple(unit(HAEMATOXYLIN)), tuple(unit(EOSIN))), strongest=(1.2, 0.9))
    density = np.array([0.4, 0.3]) @ np.array(ours.vectors)
    wanted = np.array([0.6, 0.45]) @ np.array(theirs.vectors)
    assert density @ density_map(ours, theirs) == pytest.approx(wanted, abs=1e-12)
    assert (np.zeros(3) @ density_map(ours, theirs) == 0).all()


def test_reinhards_axes_are_orthonormal_and_its_numbers_those_of_the_definition():
    """Mean and deviation of l, alpha, beta, in float64, of four pixels."""
    assert np.abs(LAB_OF_LMS @ LAB_OF_LMS.T - np.eye(3)).max() < 1e-12
    levels = np.array([[200, 100, 150], [180, 90, 160], [150, 60, 140], [90, 50, 120]], np.uint8)
    lab = np.array([LAB_OF_LMS @ np.log10(LMS_OF_RGB @ (row / 255)) for row in levels.astype(float)])
    found = reinhard_stain(levels)
    assert found.mean == pytest.approx(lab.mean(axis=0), abs=1e-12)
    assert found.std == pytest.approx(lab.std(axis=0), abs=1e-12)


def test_macenko_brings_an_image_of_other_dyes_to_the_pixels_of_the_target():
    """The same amounts in other dyes, once weaker and once stronger: 2 grey levels from the target, in the mean."""
    wanted = painted(HAEMATOXYLIN, EOSIN).astype(int)
    for strong in ((0.9, 0.7), (1.5, 1.1)):
        given = painted(OTHER_BLUE, OTHER_PINK, strong)
        assert np.abs(given - wanted).mean() > 8
        found = normalise(given, target("macenko"), AT)
        assert not found.left
        assert np.abs(found.image_HWC - wanted).mean() < 2


def test_reinhard_gives_tissue_the_means_and_deviations_of_the_target():
    """Every axis of l, alpha and beta within 0.02 of the target's, from up to ten times as far."""
    given, wanted = painted(OTHER_BLUE, OTHER_PINK, (0.8, 0.6)), target("reinhard")
    tissue = is_stained(densities(given))
    before = reinhard_stain(given[tissue])
    after = reinhard_stain(normalise(given, wanted, AT).image_HWC[tissue])
    assert np.abs(np.subtract(before.mean, wanted.stain.mean)).max() > 0.2
    assert after.mean == pytest.approx(wanted.stain.mean, abs=0.02)
    assert after.std == pytest.approx(wanted.stain.std, abs=0.02)


def test_no_spread_is_stretched_without_bound():
    """An axis that an image hardly fills is stretched by 1.5 and not by 100; a single colour is moved alone."""
    wanted = ReinhardStain(mean=(0, 0, 0), std=(0.1, 0.1, 0.1))
    given = ReinhardStain(mean=(-0.2, 0.1, 0), std=(0.001, 1.0, 0.0))
    matrix, offset = log_lms_map(given, wanted)
    scaled = LAB_OF_LMS @ matrix @ LAB_OF_LMS.T
    assert np.abs(scaled - np.diag([1.5, 1 / 1.5, 1])).max() < 1e-12
    assert LAB_OF_LMS @ offset == pytest.approx([0.3, -0.1 / 1.5, 0], abs=1e-12)


def reference(image: NDArray[np.uint8], wanted: StainTarget) -> NDArray[np.float64]:
    """What normalise computes, pixel by pixel as it is defined, in float64."""
    found, stain = stain_of(image, wanted.method, AT), wanted.stain
    share = np.maximum(image, 1) / 255.0
    if wanted.method == "macenko":
        amount = -np.log10(share) @ np.linalg.pinv(np.array(found.vectors))
        density = amount * np.divide(stain.strongest, found.strongest) @ np.array(stain.vectors)
        return np.clip(255 * 10**-density, 0, 255)
    lab = np.log10(share @ LMS_OF_RGB.T) @ LAB_OF_LMS.T
    scale = np.clip(np.divide(stain.std, found.std), 1 / 1.5, 1.5)
    moved = (lab - found.mean) * scale + stain.mean
    rgb = 255 * 10 ** (moved @ LAB_OF_LMS) @ np.linalg.inv(LMS_OF_RGB).T
    part = np.minimum(-np.log10(share).mean(axis=-1, keepdims=True) / 0.15, 1)
    return np.clip(image + part * (rgb - image), 0, 255)


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_pixels_are_those_of_the_formulas_in_float64(method):
    """To the grey level, but for a value that lies between two to 0.01, over random colours and black and white."""
    random = np.random.default_rng(0).integers(0, 256, (20, 80, 3)).astype(np.uint8)
    extremes = np.repeat(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), 40, axis=1)
    image = np.concatenate([painted(OTHER_BLUE, OTHER_PINK), random, extremes])
    exact = reference(image, target(method))
    found = normalise(image, target(method), AT).image_HWC
    assert np.abs(found - exact).max() <= 0.51


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_an_image_in_the_targets_stain_stays_as_it_is_and_glass_stays_white(method):
    """Within one grey level; the twenty columns of glass to the last bit, whatever becomes of the tissue."""
    image = painted(HAEMATOXYLIN, EOSIN)
    assert np.abs(normalise(image, target(method), AT).image_HWC.astype(int) - image).max() <= 1
    other = normalise(painted(OTHER_BLUE, OTHER_PINK), target(method), AT).image_HWC
    assert (other[:, :20] == 255).all()
    assert (image[:, :20] == 255).all()


NO_STAIN = {
    "glass": np.full((50, 50, 3), 250, np.uint8),
    "grey": np.linspace(20, 150, 2500).reshape(50, 50, 1).repeat(3, axis=2).round().astype(np.uint8),
    "too few pixels of tissue": np.where(np.arange(2500).reshape(50, 50, 1) < 63, (90, 60, 120), 255).astype(
        np.uint8
    ),
}
ONE_DYE = {
    "one colour": np.full((50, 50, 3), (120, 60, 130), np.uint8),
    "haematoxylin alone": np.rint(
        255 * 10 ** -(np.linspace(0.3, 1, 2500)[:, None] * unit(HAEMATOXYLIN)).reshape(50, 50, 3)
    ).astype(np.uint8),
}


@pytest.mark.parametrize("name", NO_STAIN)
@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_what_has_too_little_tissue_is_left_as_it_is(method, name):
    """To the last bit, and it is said."""
    found = normalise(NO_STAIN[name], target(method), AT)
    assert found.left
    assert (found.image_HWC == NO_STAIN[name]).all()


@pytest.mark.parametrize("name", ONE_DYE)
def test_macenko_leaves_what_does_not_show_two_dyes_and_reinhard_need_not(name):
    """No amounts of two stains come out of one; means and deviations, a single colour's too, can be moved."""
    assert normalise(ONE_DYE[name], target("macenko"), AT).left
    assert not normalise(ONE_DYE[name], target("reinhard"), AT).left


def test_one_field_has_nearly_the_same_stain_at_every_magnification():
    """Of nuclei of 8 pixels the spread at 20x is over 1.5 times that at 1.25x; where it is estimated, within 2 %."""
    blobs = np.random.default_rng(1).random((48, 64)).repeat(8, axis=0).repeat(8, axis=1)
    spread = np.stack([blobs > 0.6, blobs <= 0.6], axis=-1) * [1.0, 0.5]
    large = np.rint(255 * 10 ** -(spread @ np.stack([unit(HAEMATOXYLIN), unit(EOSIN)]))).astype(np.uint8)
    small = averaged_down(large, 1.25 * 16)
    own = [reinhard_stain(image.reshape(-1, 3)).std[0] for image in (large, small)]
    shared = [stain_of(large, "reinhard", 20.0).std[0], stain_of(small, "reinhard", 1.25).std[0]]
    assert own[0] / own[1] > 1.5
    assert shared[0] / shared[1] == pytest.approx(1, abs=0.02)


def test_the_target_is_the_median_image_and_counts_those_without_a_stain():
    """Of three images the middle one, number by number, to six digits; unit vectors stay so."""
    images = [painted(HAEMATOXYLIN, EOSIN, (strong, 0.9)) for strong in (0.8, 1.0, 1.4)]
    stains = [stain_of(image, "macenko", AT) for image in images]
    middle = target_of(stains, left=2)
    assert middle.stain.strongest[0] == pytest.approx(stains[1].strongest[0], rel=1e-5)
    assert np.linalg.norm(middle.stain.vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (middle.images, middle.left, middle.method) == (3, 2, "macenko")


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_a_record_is_read_back_as_it_was(method):
    """With its method, its counts and the constants that it was estimated with."""
    made = target(method)
    assert StainTarget.of(made.record) == made
    assert made.record["estimated_at"] == 1.25
    assert made.record["tissue_density"] == 0.15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "vahadane"}, "no stain normalisation 'vahadane'"),
        ({"estimated_at": 2.5}, "estimated_at is 2.5, which this kdtrain does not do"),
        ({"strongest": [1.0, 0.0]}, "strongest must be above 0"),
        ({"strongest": [1.0, float("nan")]}, "strongest must be 2 numbers from 0 to 10"),
        ({"strongest": [1.0, 1e300]}, "strongest must be 2 numbers"),
        ({"vectors": [[0.6, 0.7, 0.3]]}, "vectors must be two"),
        ({"vectors": [[0.6, 0.7], [0.1, 0.9]]}, "vectors must be 3 numbers"),
        ({"vectors": 7}, "damaged"),
        ({"images": None}, "damaged"),
        ({"images": float("inf")}, "damaged"),
        ({"method": ["macenko"]}, "no stain normalisation"),
    ],
)
def test_a_damaged_record_is_refused(change, message):
    """Whoever wrote it: a number that is none, or of another size, never reaches a pixel."""
    with pytest.raises(ValueError, match=message):
        StainTarget.of(target("macenko").record | change)


def test_a_record_that_lacks_a_number_is_refused():
    """Of either method."""
    for method in ("macenko", "reinhard"):
        record = target(method).record
        for name in record:
            with pytest.raises(ValueError, match="damaged"):
                StainTarget.of({key: value for key, value in record.items() if key != name})


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_black_ink_changes_nothing_of_what_is_found(method):
    """A tenth of the image under a pen, black and grey: the tissue beside it comes out as without."""
    image = painted(OTHER_BLUE, OTHER_PINK)
    inked = image.copy()
    inked[:, :8] = np.linspace(10, 140, 60).astype(np.uint8)[:, None, None]
    found, wanted = (normalise(one, target(method), AT).image_HWC for one in (inked, image))
    assert (found[:, 8:] == wanted[:, 8:]).all()


def test_the_bands_of_a_large_image_do_not_show(monkeypatch):
    """Row by row, the pixels are those of the whole image."""
    image = painted(OTHER_BLUE, OTHER_PINK)
    targets = [target("macenko"), target("reinhard")]
    whole = [normalise(image, one, AT).image_HWC for one in targets]
    monkeypatch.setattr("kdtrain.model.stain.normalise._BAND_PIXELS", 81)
    assert all(
        (normalise(image, one, AT).image_HWC == w).all() for one, w in zip(targets, whole, strict=True)
    )


def test_tissue_is_none_where_there_is_too_little():
    """64 pixels of the averaged image are enough, 63 are not."""
    image = np.full((50, 50, 3), 255, np.uint8)
    image.reshape(-1, 3)[:63] = (90, 60, 120)
    assert tissue_of(image, AT) is None
    image.reshape(-1, 3)[:64] = (90, 60, 120)
    assert len(tissue_of(image, AT)) == 64
    assert isinstance(stain_of(image, "reinhard", AT), ReinhardStain)
