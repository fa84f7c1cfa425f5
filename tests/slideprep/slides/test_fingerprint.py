"""Fingerprints follow content, not names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.slides import slide_file
from slideprep.errors import SlideOpenError
from slideprep.slides import fingerprint as module
from slideprep.slides.files import SlideFile
from slideprep.slides.fingerprint import fingerprint, identical


def _write(path: Path, data: bytes) -> SlideFile:
    path.write_bytes(data)
    return slide_file(path)


def test_a_renamed_copy_has_the_same_fingerprint(tmp_path: Path) -> None:
    """The same bytes under another name are the same slide."""
    a, b = _write(tmp_path / "a.svs", b"pixels"), _write(tmp_path / "b.svs", b"pixels")
    assert fingerprint(a) == fingerprint(b)
    assert identical(a, b)


def test_one_changed_byte_changes_it(tmp_path: Path) -> None:
    """Below the limit every byte counts."""
    a, b = _write(tmp_path / "a", b"pixels"), _write(tmp_path / "b", b"pixelz")
    assert fingerprint(a) != fingerprint(b)
    assert not identical(a, b)


def test_parts_count_whatever_their_names_and_order(tmp_path: Path) -> None:
    """Of a slide of several files the contents count; the same bytes cut elsewhere are another slide."""
    for name, data in {
        "a1": b"one",
        "a2": b"two",
        "b1": b"two",
        "b2": b"one",
        "c1": b"onet",
        "c2": b"wo",
    }.items():
        (tmp_path / name).write_bytes(data)
    a, b, c = (slide_file(tmp_path / f"{k}1", tmp_path / f"{k}2") for k in "abc")
    assert fingerprint(a) == fingerprint(b) != fingerprint(c)
    assert identical(a, b)
    assert not identical(a, c)


def test_large_slides_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the limit, the first and last piece and the size count; a byte between pieces only shows byte for byte."""
    monkeypatch.setattr(module, "WHOLE_LIMIT_BYTES", 1000)
    monkeypatch.setattr(module, "PIECE_BYTES", 10)
    data = bytearray(2000)
    plain = _write(tmp_path / "plain", bytes(data))
    for position, seen in ((0, True), (1999, True), (20, False)):
        changed = bytearray(data)
        changed[position] = 1
        other = _write(tmp_path / "other", bytes(changed))
        assert (fingerprint(other) != fingerprint(plain)) is seen
        assert not identical(other, plain)
    assert fingerprint(_write(tmp_path / "longer", bytes(2001))) != fingerprint(plain)


def test_a_vanished_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read gives the slide's name and the path."""
    with pytest.raises(SlideOpenError, match=r"'gone' cannot be read.*gone"):
        fingerprint(slide_file(tmp_path / "gone"))
