"""A folder in an object store: shards grow in a local scratch folder and are uploaded whole.

Requests per shard: for each magnification one upload (in parts where it is large) and one look at what arrived, then
one for the shard's record. A finished shard is recognised by its record and the store's own tags, without reading it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slideprep.storage import remote
from slideprep.storage.access import scratch_folder, short_hash
from slideprep.storage.files import output_errors
from slideprep.storage.places import Url
from slideprep.storage.remote import Stored
from slideprep.storage.store import PARTIAL, Held, Say
from slideprep.storage.url_lock import hold

LOCK = ".slideprep/lock"


class UrlStore:
    """See :class:`slideprep.storage.store.Store`.

    Args:
        place: Address of the folder.
        scratch: Local folder for what grows; None for the system's temporary folder.

    Raises:
        UsageError: The client for the address is not installed.
    """

    is_remote = True

    def __init__(self, place: Url, scratch: Path | None) -> None:
        remote.check_reachable(place)
        self.place = place
        self._scratch = scratch

    def read(self, path: str) -> bytes:
        """See Store."""
        return remote.read_bytes(self.place / path)

    def write(self, path: str, data: bytes) -> None:
        """See Store."""
        with output_errors(self.place / path):
            remote.write_bytes(self.place / path, data)

    def note(self, path: str, data: bytes) -> None:
        """See Store."""
        self.write(path, data)

    def publish(self, file: Path, path: str) -> Stored:
        """See Store."""
        with output_errors(self.place / path):
            stored = remote.upload(file, self.place / path)
            file.unlink()
        return stored

    def stat(self, path: str) -> Stored | None:
        """See Store."""
        with output_errors(self.place / path):
            try:
                return remote.stat(self.place / path)
            except FileNotFoundError:
                return None

    def unchanged(self, path: str, *, size: int, sha256: str, tag: str | None) -> bool:
        """See Store; without a tag to compare, the file is read."""
        stored = self.stat(path)
        if stored is None or stored.bytes != size:
            return False
        if tag is not None and stored.tag is not None:
            return stored.tag == tag
        with output_errors(self.place / path):
            return self._sha256(path, size) == sha256

    def _sha256(self, path: str, size: int) -> str:
        digest = hashlib.sha256()
        for start in range(0, size, remote.PIECE_BYTES):
            digest.update(remote.read_range(self.place / path, start, min(size, start + remote.PIECE_BYTES)))
        return digest.hexdigest()

    def list(self, folder: str) -> dict[str, Stored]:
        """See Store."""
        with output_errors(self.place):
            if not folder:
                return remote.find(self.place)
            return {f"{folder}/{path}": stored for path, stored in remote.find(self.place / folder).items()}

    def top(self) -> frozenset[str]:
        """See Store."""
        return frozenset(remote.children(self.place))

    def remove(self, path: str) -> None:
        """See Store."""
        with output_errors(self.place / path):
            remote.remove(self.place / path)

    def scratch(self) -> Path:
        """See Store; of this set, on this machine."""
        return scratch_folder(self._scratch, f"build-{short_hash(self.place)}")

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """See Store; a copy that is removed at the end of the block."""
        size = remote.stat(self.place / path).bytes
        with tempfile.TemporaryDirectory(dir=scratch_folder(self._scratch), prefix="fetched-") as folder:
            file = Path(folder) / "file"
            remote.download(self.place / path, file, size=size)
            yield file

    def tidy(self) -> None:
        """See Store; scratch folders on other machines are tidied by the shards that are made there."""
        for path in self.list(PARTIAL):
            self.remove(path)
        shutil.rmtree(self.scratch(), ignore_errors=True)

    @contextmanager
    def locked(self, say: Say) -> Iterator[Held]:
        """See Store."""
        with hold(self.place, self.place / LOCK, say) as lock:
            yield lock
        shutil.rmtree(self.scratch(), ignore_errors=True)
