"""Classes are matched by name; what a network does not know is refused with what it may mean."""

from __future__ import annotations

import pytest

from kdtrain.errors import UsageError
from kdtrain.evaluation.class_names import places_by_name

KNOWN = ("gland", "stroma", "fat")


@pytest.mark.parametrize(
    ("named", "places"),
    [(("gland", "stroma", "fat"), (0, 1, 2)), (("fat", "gland"), (2, 0)), ((), ())],
    ids=["the same", "fewer in another order", "none"],
)
def test_names_decide_and_not_numbers(named: tuple[str, ...], places: tuple[int, ...]) -> None:
    """Each name has its place among the network's."""
    assert places_by_name(KNOWN, named, where="X", remedy="do it") == places


def test_a_misfit_is_refused_with_what_it_may_mean() -> None:
    """'Stroma' is no 'stroma', and 'bone' is nothing: both are named, and the first one's near match."""
    with pytest.raises(UsageError) as caught:
        places_by_name(KNOWN, ("gland", "Stroma", "bone"), where="labels.csv", remedy="correct them")
    assert str(caught.value) == (
        "labels.csv has the classes Stroma, bone, and the network knows gland, stroma, fat: classes are matched by "
        "name, and what it does not know it could only get wrong (Stroma may be stroma); correct them"
    )
