"""Names that are probably one: what a spreadsheet program, a keyboard or two people make of the same patient.

``1``, ``001`` and ``1.0``, ``P-1`` and ``p1``, a zero-width space, full-width digits: as texts they are different
patients, and one of them could be trained on while the other is tested. Pure functions of names; what is done about
them is decided in :mod:`slideprep.labels.leaks`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from itertools import groupby

_LATIN_OF = str.maketrans("авекмнорстухіјѕαβεηικμνορτυχζ", "abekmhopctyxijsabehikmnoptyxz")
"""Small Cyrillic and Greek letters whose small or capital form looks like a Latin one."""

_DECIMAL = re.compile(r"\+?[0-9]{1,30}(?:[.,][0-9]{1,30})?(?:e\+?[0-9]{1,2})?")

_ASCII_RUN = re.compile(r"[0-9]+|[a-z+]+")

_NOBODY = frozenset(
    {
        "na", "nan", "none", "null", "nil", "unknown", "unk", "missing", "empty", "blank", "undefined", "unspecified",
        "notavailable", "notapplicable", "notgiven", "nopatient", "anonymous", "anonymised", "anonymized", "anon",
        "deidentified", "redacted",
    }
)  # fmt: skip
"""What is written where there is nothing to write, letters only."""

_FAULTY_CELLS = frozenset(
    {"ref", "value", "name", "div0", "null", "num", "na", "nana", "1ind", "1qnan", "naan"}
)
"""Faults of spreadsheets (#REF!) and of number formats (-1.#IND), letters and digits only."""


def folded(name: str) -> str:
    """A name without what people do not see: case, spaces, invisible signs, the coding of accents and widths."""
    return "".join(_plain(name).split())


def _plain(name: str) -> str:
    seen = "".join(sign for sign in name if unicodedata.category(sign) not in ("Cf", "Cc") or sign.isspace())
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())


def likeness(name: str) -> str:
    """What names of one patient have in common, and of different patients seldom.

    Besides what :func:`folded` passes over: zeros before a number and after its point, ``1e3`` for 1000, signs between
    letters and digits, letters of other scripts that look the same. ``1-23`` and ``12-3`` stay different.
    """
    if name.isascii() and name.isprintable():  # nearly all are: an archive's are compared in a second
        plain = name.strip().lower()
    else:
        plain = "".join(map(_ascii_digit, _plain(name))).translate(_LATIN_OF).strip()
    if _DECIMAL.fullmatch(plain) and (value := Decimal(plain.replace(",", "."))) == value.to_integral_value():
        return f"{value:.0f}"
    parts: list[str] = []
    for text in _runs(plain):
        if text[0].isdigit() and text.isascii():
            if parts and parts[-1][-1].isdigit():
                parts.append("-")
            parts.append(text.lstrip("0") or "0")
        else:
            parts.append(text)
    return "".join(parts) or plain


def _runs(plain: str) -> list[str]:
    """Runs of digits and of letters; what stands between them is passed over."""
    if plain.isascii():
        return _ASCII_RUN.findall(plain)
    return ["".join(signs) for kind, signs in groupby(plain, _kind) if kind != "between"]


def _ascii_digit(sign: str) -> str:
    value = unicodedata.decimal(sign, None)
    return sign if value is None else str(value)


def _kind(sign: str) -> str:
    if sign.isdigit() and sign.isascii():
        return "digits"
    return "letters" if sign == "+" or unicodedata.category(sign)[0] in "LMN" else "between"


def is_nobody(patient: str) -> bool:
    """Whether a patient's cell says that no patient is given: empty, ``NA``, ``nan``, ``#N/A``, ``-``, ``unknown``."""
    plain = _plain(patient).strip()
    letters = "".join(sign for sign in plain if sign.isalnum() or sign == "+")
    return not letters or letters in _NOBODY or ("#" in plain and letters in _FAULTY_CELLS)


def like_groups(names: Iterable[str]) -> list[list[str]]:
    """Names that are probably one, in groups of two and more, sorted."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        groups[likeness(name)].add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)
