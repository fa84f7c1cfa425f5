"""Names as DICOM takes them: short enough, plain, and no two alike."""

from __future__ import annotations

import pytest

from kdtrain.predict.dicom.labels import long_text, short_texts


def test_a_name_that_fits_stays_as_it_is() -> None:
    """In any script: DICOM counts letters."""
    assert short_texts(["normal", "Drüse", "腺癌", "a" * 16]) == ("normal", "Drüse", "腺癌", "a" * 16)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("adenocarcinoma, grade 2", "adenocarcinoma, grade 3"),
        ("a\\b", "a/b"),
        ("a\nb", "a\\u000ab"),
        (" x", "x"),
        ("\udce9", "\\xe9"),
    ],
)
def test_names_that_must_be_changed_stay_apart(one: str, other: str) -> None:
    """Of a viewer's list of maps, one would hide the other."""
    first, second = short_texts([one, other])
    assert first != second
    for text in (first, second):
        assert 0 < len(text) <= 16
        assert "\\" not in text
        assert text.isprintable()


def test_a_long_text_is_cut_and_plain() -> None:
    """64 letters at most, no backslash, which begins another value; never empty."""
    assert long_text("a" * 70) == "a" * 64
    assert long_text("a\\b\x00c") == "a/b/u0000c"
    assert long_text("  ") == "unnamed"
