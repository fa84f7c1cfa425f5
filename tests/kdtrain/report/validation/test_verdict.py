"""Whether a network holds elsewhere, in sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.validations import CLASSES, at_home, shifted, validation
from kdtrain.evaluation.record import evaluate_predictions
from kdtrain.report.validation.verdict import Difference, difference, differences, verdict


def test_a_difference_has_the_interval_of_both() -> None:
    """0.6 (0.5 to 0.8) less 0.9 (0.8 to 0.94): ends at the roots of 0.1² + 0.04² and of 0.2² + 0.1²."""
    found = difference({"value": 0.6, "low": 0.5, "high": 0.8}, {"value": 0.9, "low": 0.8, "high": 0.94})
    assert found is not None
    assert (round(found.value, 6), found.low, found.high) == (
        -0.3,
        pytest.approx(-0.3 - 0.0116**0.5),
        pytest.approx(-0.3 + 0.05**0.5),
    )


def test_a_difference_without_an_interval_or_a_value() -> None:
    """One patient has no interval, so nor has the difference; without a number there is none."""
    some = {"value": 0.5, "low": None, "high": None}
    assert difference(some, {"value": 0.75, "low": 0.7, "high": 0.8}) == Difference(
        value=-0.25, low=None, high=None
    )
    assert difference(some, {"value": None, "low": None, "high": None}) is None


@pytest.mark.parametrize(
    ("right", "wrong", "home", "words"),
    [
        (30, 30, at_home(0.9, 0.85, 0.95), "Does not hold here: balanced accuracy is 50.0 %"),
        (60, 0, at_home(0.9, 0.85, 0.95), "Holds here: balanced accuracy is 100.0 %"),
        (4, 1, at_home(0.9, 0.85, 0.95), "Not decided whether it holds here: balanced accuracy is 80.0 %"),
        (30, 30, at_home(0.9, None, None), "Too few to tell whether it holds here"),
        (30, 30, at_home(None, None, None), "Whether it holds is not known"),
        (30, 30, None, "Whether it holds is not known"),
    ],
)
def test_the_first_sentence_says_whether_it_holds(
    right: int, wrong: int, home: dict[str, Any] | None, words: str
) -> None:
    """By the interval of the difference from the network's own test split; where there is none, that is said."""
    first = verdict(validation(right, wrong, at_home=home))[0]
    assert first.startswith(words)
    assert first.endswith(".")


def test_where_a_class_is_missing_the_others_are_compared() -> None:
    """10 of 12 glands here against 38 of 40 at home, with Wilson's interval, whatever the stromata do there."""
    found = validation(10, 2)
    only = [one for one in found.predictions if one.label == 0]
    metrics = {**found.metrics, **evaluate_predictions(only, CLASSES, iterations=200)}
    first = verdict(replace(found, predictions=only, metrics=metrics))[0]
    assert "balanced accuracy over gland, which both have, is 83.3 %" in first
    assert "and 95.0 % (95 % interval 83.5 to 98.6) on the 40 of its own test split" in first
    assert "the difference is -11.7 points" in first


def test_where_no_class_is_shared_nothing_is_compared() -> None:
    """Glands here, stromata at home."""
    found = validation(10, 2)
    only = [one for one in found.predictions if one.label == 0]
    home = at_home(0.9, 0.85, 0.95)
    home["levels"]["slide"]["absent_classes"] = ["gland"]
    metrics = {**found.metrics, **evaluate_predictions(only, CLASSES, iterations=200), "at_home": home}
    first = verdict(replace(found, predictions=only, metrics=metrics))[0]
    assert first.startswith("Whether it holds is not known: balanced accuracy is 83.3 %")
    assert first.endswith("nothing was measured at home to hold it against.")


@pytest.mark.parametrize(
    ("trained_on", "split", "words"),
    [
        ("5", "test", "'test' is of the very set that student was trained on."),
        ("5", "train", "'train' of this set is what student was trained on."),
        ("6", "test", "student was measured on this very split before."),
        ("6", "val", "Holds here: "),
    ],
)
def test_the_networks_own_images_tell_nothing_of_elsewhere(trained_on: str, split: str, words: str) -> None:
    """Of the set that it was trained on, and of the split that it was measured on; another split of that may be new."""
    found = validation(60, 0, split=split, shard_set_sha256="5" * 64, train_on=["train"])
    first = verdict(replace(found, metrics={**found.metrics, "training_set_sha256": trained_on * 64}))[0]
    assert words in first
    assert first.startswith("These are not others' cases: ") == (split != "val")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (shifted(0.4, 0.4), "The images are of its kind: none lies outside"),
        (
            shifted(0.4, objective=40),
            "of its kind, but from other scans: of 1 image, 1 lie outside",
        ),
        (
            shifted(*[0.4] * 19, 2.0),
            "Nearly all images are of its kind: of 20 images, 1 lie outside",
        ),
        (
            shifted(2.0, 2.0, objective=40),
            "not of its kind: of 2 images, 2 lie outside the training data in objective, 2 in stain.",
        ),
    ],
)
def test_the_second_sentence_says_whether_the_images_are_of_its_kind(
    images: dict[str, Any], words: str
) -> None:
    """Another scanner alone makes no other images; another stain does."""
    assert words in verdict(validation(10, 2, shift=images))[1]


@pytest.mark.parametrize(
    ("right", "wrong", "sure", "words"),
    [
        (90, 10, 0.9, "may be taken as they are here"),
        (
            50,
            50,
            0.99,
            "Its probabilities are too high here: it is 99 % sure on average, and right in 50 % of 200",
        ),
        (100, 0, 0.6, "are not to be taken as they are here: it is 60 % sure on average, and right in 100 %"),
    ],
)
def test_the_last_sentence_says_whether_its_certainty_is_right(
    right: int, wrong: int, sure: float, words: str
) -> None:
    """How sure it is on average, against how often it is right, where chance does not explain the difference."""
    assert words in verdict(validation(right, wrong, sure=sure))[-1]


def test_what_differs_is_said_in_words() -> None:
    """Density 1.2 is 9.8 deviations above 0.4; 300 px are more than any image of training has; 40x is another scan."""
    assert list(differences(shifted(1.2, objective=40, width=300))) == [
        "The images are stained otherwise than those of training, most in density in red: 9.8 standard deviations more "
        "on average.",
        "100 % of the images are smaller or larger than any of training.",
        "The slides were scanned at 40x, those of training at 20x.",
    ]
    assert list(differences(shifted(0.4))) == []
    assert list(differences(shifted(0.4, width=110))) == [
        "100 % of the images are smaller or larger than any of training, none of them over 1.5 times so."
    ]
