"""Word of what a task reads: free on a disk, few requests in an object store, and never late where it must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.buckets import empty_memory
from slideprep.building import notes
from slideprep.building.notes import Notes
from slideprep.storage import remote
from slideprep.storage.open import open_store
from slideprep.storage.places import Url
from slideprep.storage.store import PARTIAL, Store

SHARD = "train-000000"


@pytest.fixture
def store() -> Store:
    """An empty store that costs a request a note."""
    empty_memory()
    return open_store(Url("memory://bucket/set"))


def test_in_a_store_a_note_is_written_when_another_slide_is_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three samples of two slides cost two requests."""
    written: list[bytes] = []
    monkeypatch.setattr(remote, "write_bytes", lambda _url, data: written.append(data))
    task = Notes(store)
    for note in (("a.svs", 0, 0), ("a.svs", 10, 1), ("b.svs", 20, 2)):
        task.leave(SHARD, note)
    assert written == [b'["a.svs", 0, 0]', b'["b.svs", 20, 2]']


def test_on_a_disk_every_note_is_written(tmp_path: Path) -> None:
    """The progress bar moves with every sample."""
    store = open_store(tmp_path)
    store.scratch()
    task = Notes(store)
    for note in (("a.svs", 0, 0), ("a.svs", 10, 1)):
        task.leave(SHARD, note)
        assert Notes(store).read(SHARD, fresh=False) == note


def test_a_note_from_a_store_is_read_again_after_a_while_or_when_it_must_be_right(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What crashed a worker is looked up anew; what moves a bar may be fifteen seconds old."""
    task, driver = Notes(store), Notes(store)
    assert driver.read(SHARD, fresh=False) is None
    task.leave(SHARD, ("a.svs", 0, 0))
    assert driver.read(SHARD, fresh=False) is None
    assert driver.read(SHARD, fresh=True) == ("a.svs", 0, 0)
    task.leave(SHARD, ("b.svs", 10, 1))
    assert driver.read(SHARD, fresh=False) == ("a.svs", 0, 0)
    monkeypatch.setattr(notes, "LOOK_S", 0)
    assert driver.read(SHARD, fresh=False) == ("b.svs", 10, 1)


def test_a_finished_shard_leaves_no_note_in_a_store(store: Store) -> None:
    """The object is removed; a note that was never left costs no request."""
    task = Notes(store)
    task.leave(SHARD, ("a.svs", 0, 0))
    task.forget(SHARD)
    task.forget("train-000001")
    assert store.list(PARTIAL) == {}
