"""A method whose settings are lists becomes a method of each combination: one setting each, and a label that says it.

In: a method of a recipe. Out: what follows its label, and the settings that take the lists' place. Pure.

Resizes are called as in the paper's supplement, KD+MP, and shapes as everywhere (:mod:`kdtrain.training.shape`): KD s8
w0.5. What has no word, as all of the channels, is the label alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

from kdtrain.training.shape import stem_word, stride_word, width_word

RESIZE_LABELS: Mapping[str, str] = {
    "none": "",
    "maxpool": "+MP",
    "bicubic": "+INT",
    "maxpool+bicubic": "+MP+INT",
}
"""How the paper's supplement names what a method's resizes make of it."""


def _apart(word: Callable[[object], str]) -> Callable[[Any], str]:
    return lambda value: f" {word(value)}".rstrip()


LISTED: Mapping[str, Callable[[Any], str]] = {
    "resize": RESIZE_LABELS.__getitem__,
    "output_stride": _apart(stride_word),
    "width": _apart(width_word),
    "stem": _apart(stem_word),
}
"""Settings of which a method may have a list, with what follows its label for a value; in the order of the label."""


def variants(lists: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What follows the label, and the settings, of every combination; the last list changes fastest.

    Args:
        lists: Values by setting; an empty one is none.
    """
    names = [name for name in LISTED if lists.get(name)]
    for values in product(*(lists[name] for name in names)):
        settings = dict(zip(names, values, strict=True))
        yield "".join(LISTED[name](value) for name, value in settings.items()), settings
