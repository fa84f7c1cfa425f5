"""The tars of a set, open: of a local folder as they lie there, of a URL out of the cache they are fetched into."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from kdtrain.errors import UsageError
from kdtrain.shards.cache import GB, Fetch, ShardCache
from kdtrain.shards.index import Index
from kdtrain.shards.locations import Url
from kdtrain.shards.models import Shard, ShardFile, magnification_name

MAX_OPEN_TARS = 128
"""Per process. An open tar costs a file descriptor, of which systems allow 1024 by default."""


class Tars(Protocol):
    """Opens the tars of a set. A copy sent to another process opens its own files."""

    def borrow(self, shard: Shard, magnification: float) -> AbstractContextManager[BinaryIO]:
        """A tar, open and whole, for one sample.

        Raises:
            OSError: A local file cannot be opened.
            ShardError: It cannot be fetched.
        """
        ...

    def ensure(self, shard: Shard, magnifications: Sequence[float], wanted: Callable[[], bool]) -> None:
        """Fetch what is not there, ahead of its reader, if it is still wanted when its turn has come.

        Raises:
            ShardError: It cannot be fetched.
        """
        ...

    def keep(self, shard: Shard, magnifications: Sequence[float]) -> None:
        """Have what is there count as just read."""
        ...

    def close(self) -> None:
        """Close what is open; the next sample opens it again."""
        ...


def tars_of(index: Index, *, max_open: int = MAX_OPEN_TARS) -> Tars:
    """The tars of a set.

    Args:
        index: The opened set.
        max_open: Local tars held open at a time, over all magnifications.

    Raises:
        UsageError: The cache's folder cannot be written.
    """
    return CachedTars(index) if isinstance(index.directory, Url) else LocalTars(index, max_open)


class OpenFiles:
    """Local files held open for reading; the longest unused is closed where another needs its place.

    A copy sent to another process opens its own.

    Args:
        most: At a time.
    """

    def __init__(self, most: int = MAX_OPEN_TARS) -> None:
        assert most > 0
        self._most = most
        self._open: OrderedDict[Path, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        """Everything but open files."""
        return self.__dict__ | {"_open": OrderedDict()}

    def get(self, path: Path) -> BinaryIO:
        """A file, open; until the next is asked for.

        Raises:
            OSError: It cannot be opened.
        """
        if path not in self._open:
            if len(self._open) == self._most:
                self._open.popitem(last=False)[1].close()
            self._open[path] = path.open("rb")
        self._open.move_to_end(path)
        return self._open[path]

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._open.popitem()[1].close()


class LocalTars:
    """Tars of a local folder.

    Args:
        index: The opened set.
        max_open: At a time.
    """

    def __init__(self, index: Index, max_open: int) -> None:
        self._index = index
        self._files = OpenFiles(max_open)

    @contextmanager
    def borrow(self, shard: Shard, magnification: float) -> Iterator[BinaryIO]:
        """See :class:`Tars`."""
        path = self._index.path_of(shard, magnification)
        assert isinstance(path, Path)
        yield self._files.get(path)

    def ensure(self, shard: Shard, magnifications: Sequence[float], wanted: Callable[[], bool]) -> None:
        """See :class:`Tars`; they are there."""

    def keep(self, shard: Shard, magnifications: Sequence[float]) -> None:
        """See :class:`Tars`; they stay."""

    def close(self) -> None:
        """See :class:`Tars`."""
        self._files.close()


class CachedTars:
    """Tars of a URL, each opened for one sample at a time so that the cache may evict it in between.

    Args:
        index: The opened set.

    Raises:
        UsageError: The cache's folder cannot be written.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._cache = ShardCache(index.cache)

    def borrow(self, shard: Shard, magnification: float) -> AbstractContextManager[BinaryIO]:
        """See :class:`Tars`."""
        return self._cache.reading(*self._file(shard, magnification))

    def ensure(self, shard: Shard, magnifications: Sequence[float], wanted: Callable[[], bool]) -> None:
        """See :class:`Tars`."""
        for magnification in magnifications:
            self._cache.ensure(*self._file(shard, magnification), wanted=wanted)

    def keep(self, shard: Shard, magnifications: Sequence[float]) -> None:
        """See :class:`Tars`."""
        for magnification in magnifications:
            self._cache.keep(shard.files[magnification_name(magnification)])

    def close(self) -> None:
        """See :class:`Tars`; nothing stays open."""

    def _file(self, shard: Shard, magnification: float) -> tuple[ShardFile, Fetch]:
        from kdtrain.shards.remote import fetch

        file = shard.files[magnification_name(magnification)]
        url = self._index.path_of(shard, magnification)
        assert isinstance(url, Url)
        return file, partial(fetch, url, size=file.bytes, sha256=file.sha256)


class Ahead(NamedTuple):
    """What may be fetched before it is wanted.

    Attributes:
        shards: Beyond those that the reader has begun with, at most; 0 where nothing is fetched.
        evicts: The cache does not hold all shards: one that is fetched pushes out another.
    """

    shards: int = 0
    evicts: bool = False


def shards_ahead(index: Index, split: str, magnifications: Sequence[float], *, at_once: int) -> Ahead:
    """How many shards may be fetched ahead of the reader without pushing out what it still reads.

    Samples of ``at_once`` shards are read in turns: were they not all in the cache together, nearly every sample
    would fetch a shard anew.

    Args:
        index: The opened set.
        split: A split or set of it.
        magnifications: That are read.
        at_once: Shards whose samples are mixed.

    Raises:
        UsageError: The cache does not hold so many shards and one more.
    """
    if not isinstance(index.directory, Url):
        return Ahead()
    names = [magnification_name(m) for m in dict.fromkeys(magnifications)]
    sizes = [sum(shard.files[name].bytes for name in names) for shard in index.shards_of(split)]
    sizes.sort(reverse=True)
    mixed, limit = sum(sizes[:at_once]), index.cache.limit_bytes
    needed = min(mixed + sizes[0], sum(sizes)) if sizes else 0
    if needed > limit:
        raise UsageError(
            f"--shard-cache-gb {limit / GB:g}: {split!r} of {index.directory} is read {min(at_once, len(sizes))} "
            f"shards at a time, which with the next one take {needed / GB:.3g} GB at {', '.join(names)}; in less, "
            "nearly every sample would fetch a whole shard anew. Give at least "
            f"{_rounded_up(needed):g}, copy the set to a local folder, or build it with a smaller --shard-mb"
        )
    if sum(sizes) <= limit:
        return Ahead(at_once)
    return Ahead(int(min((limit - mixed) // sizes[0], at_once)), evicts=True)


def _rounded_up(size: int) -> float:
    # Two digits of it, so that what the message says is enough.
    unit = int(10 ** max(len(str(size)) - 2, 0))
    return -(-size // unit) * unit / GB
