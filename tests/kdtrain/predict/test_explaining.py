"""What files of an explanation are called."""

from __future__ import annotations

import pytest

from kdtrain.predict.explaining import class_slugs


@pytest.mark.parametrize(
    ("classes", "slugs"),
    [
        (("gland", "stroma"), ("gland", "stroma")),
        (("low grade", "high/grade"), ("low-grade", "high-grade")),
        (("腺体", "基质", "Übergang"), ("腺体", "基质", "Übergang")),
        (("a/b", "a b", "a-b-1"), ("a-b-0", "a-b-1", "a-b-1-2")),
        (("Tumour", "tumour"), ("Tumour-0", "tumour-1")),
        (("+", "++"), ("class-0", "class-1")),
        (("..", "../x"), ("class", "x")),
    ],
)
def test_every_class_has_files_of_its_own(classes: tuple[str, ...], slugs: tuple[str, ...]) -> None:
    """Two classes never share a file's name, on file systems that do not tell upper from lower case either."""
    assert class_slugs(classes) == slugs
    assert len({slug.casefold() for slug in slugs}) == len(slugs)


def test_a_long_class_leaves_room_in_a_file_name() -> None:
    """255 bytes is what a file's name may take, of which 60 are for the rest of it."""
    (slug, _) = class_slugs(("\U0001f9ec腺" * 100 + "x", "y"))
    assert len(slug.encode()) <= 195
