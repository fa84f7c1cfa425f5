r"""Texts that come from outside, as they may be shown, written and read: names, lines on a screen, cells, numbers.

One function for each, used everywhere. A file's name is bytes; what of it is no UTF-8, and signs that would move the
cursor or turn the direction of writing, are shown as escapes (``latin\xe9.tif``). A cell of a table is never taken
for a formula. A number is what a table holds as one, not all that Python would accept. Nothing is read here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_BIDI = "\u061c\u202a-\u202e\u2066-\u2069"
_UNSEEN = re.compile(
    f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\ufffb{_BIDI}\ud800-\udfff\\U000e0000-\\U000e007f]"
)
"""Controls of terminals, line separators, overrides of the direction of writing, tags, what is no character."""
_UNSEEN_BUT_LINES = re.compile(_UNSEEN.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))
_BYTE = re.compile(r"\\x([89a-f][0-9a-f])")
_LONGEST_BYTES = 190
_BREAKS = re.compile(r"[ ]*[\t\r\n]+[ ]*")
_SUFFIX = re.compile(r"(\.ome)?\.[a-z][a-z0-9]{1,6}$", re.IGNORECASE)
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet program takes for the beginning of a formula (OWASP, "CSV Injection"), full-width signs too."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


# Names


def readable(name: str) -> str:
    r"""A name as it may stand in a table, a page, a record or on a screen: what cannot be shown as an escape.

    A byte that is no UTF-8 becomes ``\xe9``, a control character ``\x1b``, an override of the direction ``\u202e``.
    Every other name stays as it is. :func:`as_on_disk` undoes the first of these.
    """
    return _UNSEEN.sub(_escaped, name)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that it cannot decode
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def file_name(name: str) -> str:
    """A file's name as Python gave it, readable, and the same in every locale: its bytes are taken for UTF-8."""
    return readable(os.fsencode(name).decode("utf-8", "surrogateescape"))


def as_on_disk(name: str) -> str:
    """A readable name as the file system has it, where escapes stand for bytes that are no UTF-8."""
    return _BYTE.sub(lambda match: chr(0xDC00 + int(match[1], 16)), name)


def short_name(name: str) -> str:
    """A name that a file may have with a suffix behind it: 255 bytes are the most, and some are needed for that."""
    data = name.encode("utf-8", "surrogatepass")
    if len(data) <= _LONGEST_BYTES:
        return name
    return f"{data[:_LONGEST_BYTES].decode(errors='ignore')}-{hashlib.sha256(data).hexdigest()[:8]}"


def revealed(name: str) -> str:
    """A name with everything in it that cannot be seen, or told from something else, as escapes; for comparing two."""
    is_decomposed = not unicodedata.is_normalized("NFC", name)

    def hidden(sign: str) -> bool:
        kind = unicodedata.category(sign)
        return kind == "Cf" or (kind == "Zs" and sign != " ") or (kind == "Mn" and is_decomposed)

    shown = "".join(_named(sign) if hidden(sign) else sign for sign in name)
    return readable(shown)


def _named(sign: str) -> str:
    code = ord(sign)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unbroken(text: str) -> str:
    """A text of one line: breaks and tabs, and the spaces around them, as one space."""
    return _BREAKS.sub(" ", text).strip()


def slide_stem(name: str) -> str:
    """A slide's name without its file suffix: 'a.1.svs' is 'a.1', and a folder '1.2.840' keeps its dots."""
    return _SUFFIX.sub("", name) or name


def count(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: '1 fault', '1,200 faults'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


# Lines on a screen


def for_terminal(text: object) -> str:
    """A message as it may be printed: nothing in it moves the cursor, changes a colour or turns the writing around."""
    return _UNSEEN_BUT_LINES.sub(_escaped, str(text))


def screen_line(text: object, style: str = "") -> Text:
    """A message for a rich console, in which nothing is taken for markup."""
    from rich.text import Text  # the commands that print nothing by it need not wait for it

    return Text(for_terminal(text), style=style)


def sayer(console: Console) -> Callable[[str], None]:
    """What prints one message after the other on a console."""
    return lambda message: console.print(screen_line(message))


# Tables


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV that a spreadsheet program takes for text and numbers, never for formulas.

    A text that begins like a formula gets an apostrophe in front, and so does one that would be taken for that;
    numbers that are given as numbers stay what they are. :func:`csv_value` undoes it.
    """
    table = io.StringIO()
    plain = csv.writer(table, lineterminator="\n")
    quoted = csv.writer(
        table, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )  # Python before 3.13 forgets "\r"
    for row in rows:
        cells = [_cell(value) for value in row]
        (quoted if any("\r" in cell for cell in cells if isinstance(cell, str)) else plain).writerow(cells)
    return table.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{value}" if _FORMULA.match(value.lstrip("'")) else value


def csv_value(cell: str) -> str:
    """A cell of a table that :func:`csv_text` wrote, or anybody else, as it was before."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell.lstrip("'")) else cell


# Numbers


def number(text: str) -> float:
    """A number as tables hold it: digits, a point, an exponent.

    Raises:
        ValueError: It is none; digits with underscores, of other scripts or to another base, infinity and NaN are none.
    """
    given = text.strip()
    if _NUMBER.fullmatch(given) is None or not isfinite(value := float(given)):
        hint = (
            f", and with a point: {given.replace(',', '.')}" if _COMMA.fullmatch(given) else ", such as 0.5"
        )
        raise ValueError(f"'{_shortened(given)}' is not a number; write it in digits{hint}")
    return value


def whole_number(text: str) -> int:
    """A whole number: digits, perhaps after a sign.

    Raises:
        ValueError: It is none.
    """
    given = text.strip()
    if _WHOLE.fullmatch(given) is None:
        raise ValueError(f"'{_shortened(given)}' is not a whole number; write it in digits, such as 12")
    return int(given)


def _shortened(given: str) -> str:
    return readable(given if len(given) <= 40 else f"{given[:40]}...")
