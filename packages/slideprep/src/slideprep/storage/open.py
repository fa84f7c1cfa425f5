"""From a place, local or behind an address, to the store that reads and writes there.

The client of an object store is imported when an address asks for it, so that local work starts at once.
"""

from __future__ import annotations

from pathlib import Path

from slideprep.storage.places import Place, Url
from slideprep.storage.store import Store


def open_store(place: Place | Store, *, scratch: Path | None = None) -> Store:
    """The store at a place; nothing is read or made yet.

    Args:
        place: A local folder or an address; a store is given back as it is.
        scratch: Where files of a remote store grow; None for the system's temporary folder. A local store keeps them
            within itself, so that publishing is a rename.

    Raises:
        UsageError: The client for the address is not installed.
    """
    if isinstance(place, Url):
        from slideprep.storage.url import UrlStore

        return UrlStore(place, scratch)
    if not isinstance(place, Path):
        return place
    from slideprep.storage.local import LocalStore

    return LocalStore(place)
