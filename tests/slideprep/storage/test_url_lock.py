"""The lock on a folder in an object store: one holder, no clocks compared, no lock that outlives its build for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fixtures.buckets import empty_memory, quick_lock
from fixtures.waiting import PATIENCE_S
from slideprep.errors import UsageError
from slideprep.storage import remote, url_lock
from slideprep.storage.files import OutputError
from slideprep.storage.places import Url
from slideprep.storage.url_lock import UrlLock, hold

PLACE = Url("memory://bucket/set")
LOCK = PLACE / ".slideprep/lock"


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    empty_memory()
    with quick_lock():
        yield


def _silent(_message: str) -> None:
    return


def _dead_lock() -> UrlLock:
    """A lock whose owner was killed: nothing raises its counter."""
    return url_lock._acquire(PLACE, LOCK, _silent)


def _stale_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that lives is not taken for dead, however long a loaded machine lets it wait for its next beat."""
    monkeypatch.setattr(url_lock, "STALE_S", PATIENCE_S)


def test_a_second_build_is_refused_while_the_first_one_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher sees the counter move, says so, and goes away."""
    _stale_late(monkeypatch)
    said: list[str] = []
    with hold(PLACE, LOCK, _silent), pytest.raises(UsageError, match=r"another build is writing to memory"):
        hold(PLACE, LOCK, said.append).__enter__()
    assert "waiting up to 600 s to see whether the build that took it still runs" in said[0]


def test_a_lock_that_was_set_free_is_taken_at_once() -> None:
    """After an orderly end nobody waits, and only the newest lock's object is left."""
    with hold(PLACE, LOCK, _silent):
        pass
    said: list[str] = []
    with hold(PLACE, LOCK, said.append):
        assert said == []
    assert list(remote.find(LOCK)) == ["000002"]


def test_a_dead_owners_lock_is_taken_over_after_the_stated_time() -> None:
    """The counter stood still for a second of the watcher's clock: the next number is created."""
    _dead_lock()
    begun = time.monotonic()
    with hold(PLACE, LOCK, _silent) as lock:
        assert time.monotonic() - begun >= 1
        lock.check()


def test_an_owner_that_wakes_up_late_stops() -> None:
    """It finds a higher number, says so at the next check, and leaves the new owner's lock alone."""
    late = _dead_lock()
    with hold(PLACE, LOCK, _silent) as lock:
        late.start()
        late._thread.join(PATIENCE_S)
        with pytest.raises(OutputError, match=r"another build took it over.*finished shards are kept"):
            late.check()
        late.release()
        lock.check()
    assert list(remote.find(LOCK)) == ["000002"]


def test_of_several_that_start_at_once_exactly_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six threads take the lock at the same moment: one holds it, five are refused."""
    held: list[str] = []
    refused: list[str] = []
    start, done = threading.Barrier(6), threading.Event()

    def build(name: str) -> None:
        start.wait()
        try:
            with hold(PLACE, LOCK, _silent):
                _stale_late(monkeypatch)
                held.append(name)
                assert done.wait(PATIENCE_S)
        except UsageError:
            refused.append(name)
            if len(refused) == 5:
                done.set()

    threads = [threading.Thread(target=build, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (len(held), len(refused)) == (1, 5)


def test_of_several_that_find_a_dead_lock_exactly_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """All watch it go stale together; the first to create the next number holds, the others are refused."""
    _dead_lock()
    test_of_several_that_start_at_once_exactly_one_goes_on(monkeypatch)


def test_a_creation_whose_answer_was_lost_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second attempt finds the object of the first; its owner's name tells that it is ours."""
    create = remote.create

    def twice(url: Url, data: bytes) -> None:
        create(url, data)
        create(url, data)

    monkeypatch.setattr(remote, "create", twice)
    with hold(PLACE, LOCK, _silent) as lock:
        lock.check()


def test_a_store_that_ignores_the_condition_lets_one_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two creations both succeed, the later one holds and the earlier one goes on to watch it."""
    seen: list[str] = []

    def overwrite(url: Url, data: bytes) -> None:
        remote.write_bytes(url, data)
        if not seen:
            seen.append("rival")
            remote.write_bytes(url, b'{"owner": "rival", "count": 0}')

    monkeypatch.setattr(remote, "create", overwrite)
    assert not url_lock._create(LOCK, url_lock._State(number=1, owner="me", count=0))
    assert url_lock._create(LOCK, url_lock._State(number=2, owner="me", count=0))


def test_an_owner_that_cannot_reach_the_store_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stated time another may have taken the folder, so the build must not go on."""
    with hold(PLACE, LOCK, _silent) as lock:
        monkeypatch.setattr(remote, "write_bytes", _no_answer)
        lock._thread.join(PATIENCE_S)
        with pytest.raises(OutputError, match=r"did not answer for 1 s: no answer"):
            lock.check()


@pytest.mark.parametrize("refusal", [FileNotFoundError(2, "no such bucket"), PermissionError(13, "denied")])
def test_a_place_that_cannot_be_written_to_is_wrong_usage(
    refusal: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that is not there, or not ours to write to, is found before any work."""

    def refuse(_url: Url, _data: bytes) -> None:
        raise refusal

    monkeypatch.setattr(remote, "create", refuse)
    with pytest.raises(
        UsageError, match=rf"cannot be written to: {refusal.strerror}; check the bucket's name"
    ):
        hold(PLACE, LOCK, _silent).__enter__()


def _no_answer(_url: Url, _data: bytes) -> None:
    raise remote.UnansweredError(5, "no answer")
