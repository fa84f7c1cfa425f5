"""One build at a time on a folder in an object store, without comparing the clocks of two machines.

The lock is an object ``lock/<number>`` that is created only if it does not exist; the highest number holds. Its owner
raises a counter in it every :data:`BEAT_S` seconds. Another build watches the counter: where it moves, that build is
refused; where it stands still for :data:`STALE_S` seconds of the watcher's own monotonic clock, the owner is gone and
the watcher creates the next number, which one of several watchers can do. An owner that wakes up late finds a higher
number, and stops. What both wrote until then are the same bytes: a shard depends on inputs and settings alone.

The store must be consistent (what was written is seen by the next request: S3, Google Cloud Storage and Azure are) and
should refuse to create an object twice; where it does not, the last of several writers holds, which each of them
checks after :data:`POLL_S` seconds.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from slideprep.errors import UsageError
from slideprep.storage import remote
from slideprep.storage.files import OutputError, output_errors
from slideprep.storage.places import Url
from slideprep.storage.store import Say

BEAT_S = 20.0
STALE_S = 120.0
"""Six beats: long enough for a pause of the owner or of the network."""
POLL_S = 2.0


@dataclass(frozen=True, kw_only=True)
class _State:
    number: int
    owner: str
    count: int

    @property
    def is_free(self) -> bool:
        return not self.owner


class UrlLock:
    """A lock that this process holds; see the module.

    Args:
        place: What is locked, for messages.
        folder: Where the lock's objects are.
        number: Number of the object that holds.
        owner: Our random name.
    """

    def __init__(self, place: Url, folder: Url, number: int, owner: str) -> None:
        self._place, self._folder, self._number, self._owner = place, folder, number, owner
        self._count = 0
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="slideprep-lock")

    def start(self) -> None:
        """Begin to raise the counter, and forget the locks before this one."""
        self._thread.start()
        with suppress(OSError):  # they are of no worth, and of no harm
            for name in remote.find(self._folder):
                if name.isdigit() and int(name) < self._number:
                    remote.remove(self._folder / name)

    def check(self) -> None:
        """Raise OutputError where another build holds the folder by now."""
        if self._lost is not None:
            raise OutputError(
                f"the lock on {self._place} was lost ({self._lost}), so this build stops; finished shards are kept: "
                "run the same command again once no other build is running"
            )

    def release(self) -> None:
        """Stop the counter and set the folder free."""
        self._stop.set()
        self._thread.join()
        if self._lost is None:
            with suppress(OSError):  # it goes stale by itself
                _write(self._folder, _State(number=self._number, owner="", count=self._count + 1))

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(BEAT_S):
            try:
                self._raise_count()
            except OSError as error:
                if time.monotonic() - last > STALE_S:
                    self._lost = f"the store did not answer for {STALE_S:g} s: {error.strerror or error}"
            else:
                last = time.monotonic()
            if self._lost is not None:
                return

    def _raise_count(self) -> None:
        newest = _newest(self._folder)
        if newest is None or (newest.number, newest.owner) != (self._number, self._owner):
            self._lost = "another build took it over while this one stood still"
            return
        self._count += 1
        _write(self._folder, _State(number=self._number, owner=self._owner, count=self._count))


@contextmanager
def hold(place: Url, folder: Url, say: Say) -> Iterator[UrlLock]:
    """Hold a lock for the length of a block.

    Args:
        place: What is locked, for messages.
        folder: Where the lock's objects are.
        say: Told what is being waited for.

    Raises:
        UsageError: Another build holds it, or the place cannot be written to.
        OutputError: The store does not answer.
    """
    try:
        with output_errors(place):
            lock = _acquire(place, folder, say)
    except OutputError as error:
        if isinstance(error.__cause__, FileNotFoundError | PermissionError):
            raise UsageError(
                f"{place} cannot be written to: {error.__cause__.strerror}; check the bucket's name, and that your "
                "credentials may write there"
            ) from None
        raise
    lock.start()
    try:
        yield lock
    finally:
        lock.release()


def _acquire(place: Url, folder: Url, say: Say) -> UrlLock:
    while True:
        newest = _newest(folder)
        if newest is not None and not newest.is_free:
            say(
                f"a lock is on {place}; waiting up to {STALE_S:g} s to see whether the build that took it still runs"
            )
            if not _stands_still(place, folder, newest):
                continue
        mine = _State(number=newest.number + 1 if newest else 1, owner=secrets.token_hex(16), count=0)
        if _create(folder, mine):
            return UrlLock(place, folder, mine.number, mine.owner)


def _stands_still(place: Url, folder: Url, seen: _State) -> bool:
    """Watch a lock: True where its counter did not move, False where it was set free or taken over.

    Raises:
        UsageError: It moved.
    """
    start = time.monotonic()
    while time.monotonic() - start < STALE_S:
        time.sleep(POLL_S)
        now = _newest(folder)
        if now is None or now.number != seen.number or now.is_free:
            return False
        if now != seen:
            raise UsageError(
                f"another build is writing to {place}; wait for it to end, or give another --out"
            )
    return True


def _create(folder: Url, state: _State) -> bool:
    """Create a lock's object; False where another build did."""
    try:
        remote.create(folder / _name(state.number), _bytes(state))
    except FileExistsError:
        pass  # by another, or by an attempt of ours whose answer was lost
    else:
        time.sleep(
            POLL_S
        )  # a store that knows no "only if absent" lets two writers pass: the later one holds
    newest = _newest(folder)
    return newest is not None and newest.owner == state.owner


def _newest(folder: Url) -> _State | None:
    numbers = sorted(int(name) for name in remote.find(folder) if name.isdigit())
    if not numbers:
        return None
    try:
        content = json.loads(remote.read_bytes(folder / _name(numbers[-1])))
        return _State(number=numbers[-1], owner=str(content["owner"]), count=int(content["count"]))
    except FileNotFoundError:
        return _newest(folder)  # its successor's owner removed it in between
    except (ValueError, KeyError, TypeError):
        return _State(number=numbers[-1], owner="unreadable", count=0)


def _write(folder: Url, state: _State) -> None:
    remote.write_bytes(folder / _name(state.number), _bytes(state))


def _bytes(state: _State) -> bytes:
    return json.dumps({"owner": state.owner, "count": state.count}).encode()


def _name(number: int) -> str:
    return f"{number:06d}"
