"""Where a shard set lies: a local folder, or a folder of object storage by its URL. Pure; nothing is opened.

A URL says where, never who: credentials come from the environment or the profile files that the storage's own tools
read, so a URL may be shown in messages and kept in a run's record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from kdtrain.errors import UsageError

EXTRAS: Mapping[str, str] = {
    "s3": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "memory": "",
}
"""Schemes that are read, with the extra of kdtrain that brings the package; "" where none is needed."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.S)


@dataclass(frozen=True)
class Url:
    """A folder or file of object storage, without credentials and without a slash at its end.

    Attributes:
        text: ``s3://bucket/sets/mine``.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    @property
    def scheme(self) -> str:
        """``s3``."""
        return self.text.partition("://")[0]


Location: TypeAlias = Path | Url


def location_of(given: str | Path | Url) -> Location:
    """A path or a URL out of what was typed; ``file://`` is the local path.

    Raises:
        UsageError: A URL that is not read, or one with credentials in it, which is not shown.
    """
    if isinstance(given, Url):
        return given
    match = _URL.fullmatch(str(given))
    if isinstance(given, Path) or match is None:
        return Path(given)
    scheme, rest = match[1].lower(), match[2]
    # First, since every other message shows the URL.
    if "?" in rest or ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise UsageError(
            f"a {scheme}:// URL of a shard set holds a password or a '?', and URLs are shown in logs and kept in "
            "records; leave it out, and give credentials by the environment or the storage's own profile files"
        )
    if scheme in ("file", "local"):
        return Path(rest)
    if scheme not in EXTRAS:
        known = ", ".join(f"{name}://" for name in EXTRAS)
        raise UsageError(f"{given}: {scheme}:// is not read; give a local folder or one of {known}")
    if not rest.strip("/"):
        raise UsageError(f"{given}: the URL names no bucket; write {scheme}://BUCKET/FOLDER")
    # The name of a memory:// file begins with a slash, and both spellings mean the same.
    return Url(f"{scheme}://{rest.strip('/')}")


def resolved(location: Location) -> Location:
    """The location as every machine sees it: an absolute path; a URL as it is."""
    return location.resolve() if isinstance(location, Path) else location


LocationField: TypeAlias = Annotated[
    Path | Url,
    PlainValidator(location_of),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""A field of a configuration; its record is the text."""
