"""Names of classes and bundles as DICOM takes them. Pure.

DICOM's short texts have 16 letters and its long ones 64 (PS3.5, 6.2: SH and LO); a backslash would begin another
value, and there are no control characters. What a class is, is coded in a scheme of our own, whose designator begins
with 99 as that of a private scheme must (PS3.16, 8.2): "tumour" is a name that whoever labelled the slides gave, not a
concept of SNOMED CT, and no code here says that it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from kdtrain.text import visible

SCHEME = "99KDTRAIN"
SCHEME_NAME = "Names of classes that a network of kdtrain was trained on"

SHORT, LONG = 16, 64
_DIGITS = 8
"""Hexadecimal ones of a name's SHA-256, where the name is too long: enough that two names do not meet."""


def long_text(text: str) -> str:
    """A text as LO takes it: at most 64 letters, none of them a control or a backslash."""
    return _plain(text)[:LONG].strip() or "unnamed"


def short_texts(names: Sequence[str]) -> tuple[str, ...]:
    """Names as SH takes them, at most 16 letters, and no two alike: viewers tell the maps of a slide apart by them.

    A name that fits stays as it is; of another, its beginning and the first digits of its SHA-256.
    """
    return tuple(_short(name) for name in names)


def _short(name: str) -> str:
    if name == _plain(name).strip() and 0 < len(name) <= SHORT:
        return name
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
    return f"{_plain(name)[: SHORT - _DIGITS - 1].strip()}#{digest}"


def _plain(text: str) -> str:
    return visible(text).replace("\\", "/")
