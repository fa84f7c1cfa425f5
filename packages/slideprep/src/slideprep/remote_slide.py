"""Where the files of a slide in an object store come from, and what is known of them without reading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slideprep.storage.access import short_hash
from slideprep.storage.places import Url


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
        """Of the content, from the store's tags alone; None where a file has none."""
        if None in self.tags:
            return None
        return short_hash(repr(sorted(zip(self.sizes, self.tags, strict=True))))

    def shown(self, text: str) -> str:
        """A message with addresses in place of the scratch folder."""
        return text if self.folder is None else text.replace(str(self.folder), self.base)
