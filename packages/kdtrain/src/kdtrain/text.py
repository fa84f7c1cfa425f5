"""Words of strangers made fit for where they are shown: a terminal, a page, a spreadsheet. Pure.

Names of slides, patients, classes, runs and folders come from files, and a file may come from anywhere. A name may
hold what a terminal obeys (ESC and what follows), what turns the direction of writing, what a spreadsheet computes, or
bytes that are no text. Whatever prints asks this file first; HTML, LaTeX and Markdown have escapes of their own beside.
"""

from __future__ import annotations

import csv
import io
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Unicode's categories of what cannot be seen: controls, marks of direction, halves of pairs, private characters."""
_BYTES = range(0xDC80, 0xDD00)
"""What Python makes of bytes of a file's name that are no UTF-8 (PEP 383)."""


def visible(text: str) -> str:
    r"""Spell out what cannot be seen: control characters, marks of writing direction, bytes that are no UTF-8.

    ``\u001b`` is written as in JSON, so what was JSON still is; a byte of a file's name as ``\xe9``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def _spelled(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    halves = [code] if code <= 0xFFFF else [0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF)]
    return "".join(f"\\u{half:04x}" for half in halves)


def on_terminal(text: str) -> str:
    """The same, but that lines end where they did: a message may take several."""
    return "\n".join(map(visible, text.split("\n")))


def readable(name: str) -> str:
    r"""A file's name as text that any table, page or JSON can hold; an ordinary name stays as it is.

    A byte that is no UTF-8 becomes ``\xe9``. Only in a name with such a byte is a backslash doubled, so that the way
    back is certain.
    """
    if not any(ord(c) in _BYTES for c in name):
        return name.encode(errors="backslashreplace").decode()
    return "".join(_spelled(c) if ord(c) in _BYTES else c for c in name.replace("\\", "\\\\"))


def readable_json(value: Any) -> Any:
    """JSON-able content with every text in it :func:`readable`."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {readable_json(key): readable_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [readable_json(one) for one in value]
    return value


def reason_of(error: BaseException, most: int = 200) -> str:
    """What a library says of its error, without its line breaks, and cut: some list all that they know."""
    return visible(" ".join(str(error).split())[:most])


def brief(value: object, most: int = 80) -> str:
    """A value for a message, as Python writes it, on one line and cut: a stranger's may have a million parts."""
    shown = visible(_SHORT.repr(value))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 120, 120


_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet computes (OWASP, "CSV injection"), behind any apostrophes."""
_NUMBER = r"[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?%?"
_OURS = re.compile(rf"-|{_NUMBER}(?: ?\({_NUMBER}(?:-| to ){_NUMBER}\))?")
"""A number alone, or with its interval as reports write it, or the sign for none: nothing that does anything."""


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, lines ended by a line feed; numbers read back to the last bit, None is an empty field.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which :func:`csv_value` takes off.
    """
    lines = []
    for row in rows:
        file = io.StringIO(newline="")
        # Of the signs that end a line, Python quotes those of its line terminator alone.
        csv.writer(file, lineterminator="\r\n").writerow([_csv_cell(value) for value in row])
        lines.append(file.getvalue().removesuffix("\r\n"))
    return "".join(f"{line}\n" for line in lines)


def _csv_cell(value: object) -> object:
    if isinstance(value, float):
        return repr(float(value))
    if not isinstance(value, str):
        return value
    text = readable(value)
    return f"'{text}" if _FORMULA.match(text) and not _OURS.fullmatch(text) else text


def csv_value(field: str) -> str:
    """What :func:`csv_text` was given for a text, out of the field that a CSV reader hands over."""
    return field[1:] if field.startswith("'") and _FORMULA.match(field) else field


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 patient", "1,239 patients"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
