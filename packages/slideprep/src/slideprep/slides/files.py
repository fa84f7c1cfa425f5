"""The files of a slide, and how they are spoken of.

Here are the records of what was found (:class:`SlideFile`, :class:`RemoteSource` for one in an object store,
:class:`RejectedFile`), the suffixes of slide files, the names in the lists that a person or a scanner wrote (a CSV, the
index of a VMS or VMU slide), and reasons of failures without real names and paths. Nothing is read here.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.storage.access import short_hash
from slideprep.storage.places import Place, Url
from slideprep.text import for_terminal, readable, revealed

INDEX_SUFFIXES = (".vms", ".vmu")

SUFFIXES = (
    ".bif", ".btf", ".czi", ".dcm", ".dicom", ".jpeg", ".jpg", ".mrxs", ".ndpi", ".png", ".qptiff", ".scn", ".svs",
    ".svslide", ".tif", ".tiff", ".vms", ".vmu",
)  # fmt: skip
"""What a folder is searched for; a file named explicitly may have any suffix."""

DICOM_SUFFIXES = (".dcm", ".dicom")

LIST_SUFFIXES = (".csv", ".tsv", ".txt")
"""Tables that list slides, where they are named themselves."""

_LIST_COLUMNS = ("path", "slide", "filename", "file", "filepath", "file_path", "file_name", "slide_path")


def named_in(index: str) -> list[str]:
    """The values of a VMS or VMU index that may be names of files beside it."""
    values = re.findall(r"^[^=\n\[]+=[ \t]*(\S[^\r\n]*?)[ \t]*\r?$", index, flags=re.MULTILINE)
    return [value for value in values if len(value) < 256 and "\0" not in value]


@dataclass(frozen=True, kw_only=True)
class SlideFile:
    """A slide on disk, or in an object store.

    Attributes:
        name: File name; of a DICOM series its folder's name, with the end of the series UID where several series
            share a folder. What of it cannot be written as text is an escape (:func:`slideprep.text.readable`); the
            paths keep the bytes.
        path: The file to open, symbolic links resolved.
        files: Every file that pixels come from, ``path`` among them, sorted.
        remote: Where the files are to be fetched from; their paths are relative until they are. None for local ones.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    remote: RemoteSource | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the files are or come from, as a person may see it, the one to open first."""
        if self.remote is None:
            return (self.path, *self.files)
        base, folder = self.remote.base, self.remote.folder
        paths = [path if folder is None else path.relative_to(folder) for path in (self.path, *self.files)]
        return tuple(base / path.as_posix() for path in paths)


@dataclass(frozen=True, kw_only=True)
class RejectedFile:
    """A file that looked like a slide or a part of one and is not usable.

    Attributes:
        path: Where it is.
        reason: Why it is not usable, and what to do.
    """

    path: Place
    reason: str


def listed_slides(content: bytes, table: Place) -> list[str]:
    """The slides that a table lists: its column ``path`` or ``slide``, or each line of a table that has no header.

    Args:
        content: UTF-8 with or without a byte order mark; cells are separated by commas, semicolons or tabs.
        table: Where it is, for messages.

    Raises:
        UsageError: It is no table, there is no such column, or a row has no value in it.
    """
    try:
        text = content.decode("utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{table} cannot be read as CSV ({error}); save it as comma-separated UTF-8"
        ) from error
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    if len(header) == 1 and header[0].endswith(SUFFIXES):
        return [row[0].strip() for row in rows]
    column = next((header.index(name) for name in _LIST_COLUMNS if name in header), None)
    if column is None or len(rows) == 1:
        raise UsageError(
            f"{table} has no rows under a column 'path' or 'slide' (its first line is '{first.strip()[:60]}'); its "
            "first line must name one of them, and the lines below hold paths relative to the table"
        )
    values = [row[column].strip() if column < len(row) else "" for row in rows[1:]]
    if "" in values:
        line = values.index("") + 2
        raise UsageError(
            f"{table} line {line} has an empty '{rows[0][column].strip()}'; fill it or delete the line"
        )
    return values


def redacted(text: str, names: Mapping[str, str], paths: Iterable[Place]) -> str:
    """Replace real names, their stems and their paths in a message by pseudonyms.

    Names count as whole words ("7" stays in "17"), and what was put in is not searched again.

    Args:
        text: A message.
        names: Real slide or patient name to pseudonym.
        paths: Files whose paths or file names may be in the message.
    """
    known: dict[str, str] = {}
    for path in paths:
        known |= {str(path): path.suffix or "a file", str(path.parent): "its folder"}
        known.setdefault(path.name, path.suffix or "a file")
    known |= {Path(name).stem: pseudonym for name, pseudonym in names.items()} | dict(names)
    strange = {name: word for name, word in known.items() if not (name.isascii() and name.isprintable())}
    for shown in (readable, revealed):  # as a message may have them
        known = {shown(name): word for name, word in strange.items()} | known
    longest_first = sorted(filter(None, known), key=len, reverse=True)
    if not longest_first:
        return text
    any_of_them = "|".join(map(re.escape, longest_first))
    return re.sub(rf"(?<![^\W_])(?:{any_of_them})(?![^\W_])", lambda match: known[match[0]], text)


def shown_reason(text: str, file: SlideFile, shown_name: str, *others: Place) -> str:
    """A reader's message as it may enter a shard set: without the slide's real name, where a pseudonym is shown.

    Args:
        text: The message.
        file: The slide that it is about.
        shown_name: The slide's name in all output.
        others: Further files that the message may name, such as the slide's annotations.
    """
    if file.remote is not None:
        text = file.remote.shown(text)
    if shown_name != file.name:
        text = redacted(text, {file.name: shown_name}, (*file.places, *others))
    return for_terminal(text)


@dataclass(frozen=True, kw_only=True)
class RemoteSource:
    """The origin of a slide's files.

    Attributes:
        base: Address that the paths of the slide's files are relative to, until they are fetched.
        sizes: Bytes of each file, in the order of the slide's files.
        tags: The store's mark of each file's content, or None.
        folder: Where the files were fetched to; None before.
    """

    base: Url
    sizes: tuple[int, ...]
    tags: tuple[str | None, ...]
    folder: Path | None = None

    @property
    def mark(self) -> str | None:
        """A hash of the sizes and the store's tags, which changes with the content; None where a file has no tag."""
        if None in self.tags:
            return None
        return short_hash(repr(sorted(zip(self.sizes, self.tags, strict=True))))

    def shown(self, text: str) -> str:
        """A message with addresses in place of the scratch folder."""
        return text if self.folder is None else text.replace(str(self.folder), self.base)
