"""``slideprep croissant``: what a set's owner says of it in, croissant.json and samples.json beside its index out."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slideprep.building.croissant import EXPECTED, said_of, write_croissant
from slideprep.errors import UsageError
from slideprep.growing.change import changing
from slideprep.shards.format import INDEX_NAME
from slideprep.storage.places import Place

_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
"""A licence's identifier (SPDX 2.3, annex D.2: idstring)."""
_URL = re.compile(r"https?://[^\s/]+(/\S*)?")


@dataclass(frozen=True, kw_only=True)
class Said:
    """What only a set's owner knows; None where nothing is said now, and what was said before stays.

    Attributes:
        name: Of the dataset; at first, that of its folder.
        description: In a sentence or two.
        license: SPDX identifier, or the licence's URL.
        cite: How to cite it: a reference, or BibTeX.
        url: Its page.
        published: Date, such as 2026-11-30.
        version: Of the dataset, such as 1.0.0.
    """

    name: str | None = None
    description: str | None = None
    license: str | None = None
    cite: str | None = None
    url: str | None = None
    published: str | None = None
    version: str | None = None

    @property
    def properties(self) -> dict[str, str]:
        """The same in the words of Croissant.

        Raises:
            UsageError: One is empty, or licence, URL or date is none.
        """
        for option, value in asdict(self).items():
            if value is not None and not value.strip():
                raise UsageError(f"--{option} is empty; give a text, or leave the option out")
        given = {
            "name": self.name,
            "description": self.description,
            "license": None if self.license is None else _license(self.license),
            "citeAs": self.cite,
            "url": None if self.url is None else _url("--url", self.url),
            "datePublished": None if self.published is None else _date(self.published),
            "version": self.version,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Described:
    """What was written.

    Attributes:
        out: The set's folder.
        lacks: Properties that catalogues look for and nobody said.
    """

    out: Place
    lacks: tuple[str, ...]


def describe_set(out: Place, wish: Said, *, scratch: Path | None = None) -> Described:
    """Write croissant.json and samples.json of a finished set, or write them again.

    Args:
        out: The set's folder, or its address.
        wish: What its owner says.
        scratch: As for :func:`slideprep.storage.open.open_store`.

    Raises:
        UsageError: There is no finished set with its workspace, somebody else writes to it, an option is none, or
            croissant.json is damaged.
        OutputError: The folder cannot be written to.
    """
    properties = wish.properties
    with changing(out, scratch=scratch) as held:
        current = held.current
        said: Mapping[str, Any] = {"name": _name_of(out), **(said_of(held.store) or {}), **properties}
        write_croissant(held.store, current.finished, current.index, held.store.read(INDEX_NAME), said)
    return Described(out=out, lacks=tuple(name for name in EXPECTED if name not in said))


def _name_of(out: Place) -> str:
    return out.resolve().name if isinstance(out, Path) else str(out).rstrip("/").rsplit("/", 1)[-1]


def _license(text: str) -> str:
    if _SPDX.fullmatch(text):
        return f"https://spdx.org/licenses/{text}.html"
    if _URL.fullmatch(text):
        return text
    raise UsageError(
        f"--license {text!r} is neither an SPDX identifier, such as CC-BY-4.0, nor the URL of a licence"
    )


def _url(option: str, text: str) -> str:
    if not _URL.fullmatch(text):
        raise UsageError(f"{option} {text!r} is no URL; it begins with https:// or http://")
    return text


def _date(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"--published {text!r} is no date, such as 2026-11-30") from None
