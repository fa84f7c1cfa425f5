"""The words for a network's shape: the same in labels, tables and figures."""

from __future__ import annotations

from typing import Any

import pytest

from kdtrain.training.shape import Shape, shape_texts, stride_word


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"output_stride": 32}, "s32"),
        ({"output_stride": 8, "width": 0.5}, "s8 w0.5"),
        ({"output_stride": 4, "width": 0.25, "stem": "small"}, "s4 w0.25 small stem"),
        ({"output_stride": 16, "width": 1.0, "stem": "standard"}, "s16"),
    ],
)
def test_a_shape_in_words(network: dict[str, Any], words: str) -> None:
    """The stride always, width and stem where they are not the paper's."""
    shape = Shape.of({"model": "resnet10", **network})
    assert shape.words == words
    assert shape.is_papers == (words == "s32")


def test_what_chooses_a_stride_has_its_own_name() -> None:
    """In a recipe's list "auto" stands beside numbers."""
    assert [stride_word(stride) for stride in (32, 8, "auto")] == ["s32", "s8", "auto"]


def test_architectures_are_named_where_there_are_several() -> None:
    """Of one architecture nobody has to be told."""
    small, large = (Shape(model=model, output_stride="8") for model in ("resnet10", "resnet18"))
    assert shape_texts([small, small]) == ("s8", "s8")
    assert shape_texts([small, large]) == ("resnet10 s8", "resnet18 s8")


def test_a_record_that_anyone_wrote_is_words_all_the_same() -> None:
    """Lists and objects in place of numbers become texts, and compare as such."""
    odd = Shape.of({"output_stride": {"a": 1}, "width": [], "stem": None, "model": 3})
    assert odd == Shape.of({"output_stride": {"a": 1}, "width": [], "stem": None, "model": 3})
    assert hash(odd) == hash(odd)
    assert not odd.is_papers
    assert odd.words == "{'a': 1} w[] None stem"
