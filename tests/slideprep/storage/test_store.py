"""One contract for every kind of folder: on disk, in memory, and on an S3-compatible server that makes faults."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.buckets import empty_memory, s3_with_buckets
from fixtures.faulty_s3 import Fault, FaultyS3
from slideprep.errors import UsageError
from slideprep.shards.verify.verify import verify
from slideprep.storage import remote
from slideprep.storage.files import OutputError
from slideprep.storage.local import LocalStore
from slideprep.storage.open import open_store
from slideprep.storage.places import Place, Url
from slideprep.storage.remote import ATTEMPTS, UnansweredError
from slideprep.storage.store import PARTIAL, Store

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    """The server."""
    with s3_with_buckets() as server:
        yield server


@pytest.fixture(params=["disk", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    empty_memory()
    places: dict[str, Place] = {
        "disk": tmp_path / "set",
        "memory": Url("memory://bucket/set"),
        "s3": Url(f"s3://sets/{hashlib.sha256(request.node.name.encode()).hexdigest()}"),
    }
    return open_store(places[request.param], scratch=tmp_path / "scratch")


def _grown(store: Store, data: bytes = DATA) -> Path:
    file = store.scratch() / "grown.tar"
    file.write_bytes(data)
    return file


def test_what_was_written_is_there(store: Store) -> None:
    """Content, size, listing and first level agree, and a file that is replaced has its new content."""
    store.write("a.csv", b"old")
    store.write("a.csv", b"new, longer")
    store.write("deep/er/b.json", b"{}")
    assert store.read("a.csv") == b"new, longer"
    assert {path: stored.bytes for path, stored in store.list("deep").items()} == {"deep/er/b.json": 2}
    assert list(store.list("")) == ["a.csv", "deep/er/b.json"]
    assert store.top() == {"a.csv", "deep"}


def test_what_is_not_there_is_said_to_be_missing(store: Store) -> None:
    """A new place is empty; reading raises, looking gives None, removing is no fault."""
    assert (store.top(), store.list(""), store.stat("a")) == (frozenset(), {}, None)
    with pytest.raises(FileNotFoundError) as refusal:
        store.read("a")
    assert refusal.value.strerror == "No such file or directory"
    store.remove("a")


def test_a_published_file_is_whole_and_gone_from_scratch(store: Store) -> None:
    """It is in its place with every byte, and takes no room where it grew."""
    file = _grown(store)
    assert store.publish(file, "10x/train-000000.tar").bytes == len(DATA)
    assert store.read("10x/train-000000.tar") == DATA
    assert not file.exists()
    with store.fetched("10x/train-000000.tar") as local:
        assert local.read_bytes() == DATA


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What reaches the disk from now on, in order: ("rename" or "sync", name of the file or folder)."""
    steps: list[tuple[str, str]] = []
    rename, sync = os.replace, os.fsync

    def replace(old: Path, new: Path) -> None:
        steps.append(("rename", Path(new).name))
        rename(old, new)

    def fsync(handle: int) -> None:
        steps.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name.partition(".json.")[0]))
        sync(handle)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    return steps


def test_a_published_files_name_survives_a_power_cut(tmp_path: Path, disk: list[tuple[str, str]]) -> None:
    """The folder of a tar, whose content is synced already, is synced once the tar has its name there."""
    store = open_store(tmp_path)
    store.publish(_grown(store), "10x/train-000000.tar")
    assert disk == [("rename", "train-000000.tar"), ("sync", "10x")]


def test_a_written_file_survives_a_power_cut(tmp_path: Path, disk: list[tuple[str, str]]) -> None:
    """Content first, then the name, then the folder that holds it: index, journal and mapping are written so."""
    open_store(tmp_path / "set").write("index.json", b"{}")
    assert disk == [("sync", "index"), ("rename", "index.json"), ("sync", "set")]


@pytest.mark.parametrize("change", ["none", "content", "size", "missing"])
def test_a_changed_file_is_recognised(store: Store, change: str) -> None:
    """Another content of the same size, another size, or no file at all: it is not the one that was published."""
    tag = store.publish(_grown(store), "a.tar").tag
    if change == "missing":
        store.remove("a.tar")
    elif change != "none":
        store.publish(_grown(store, {"content": DATA[::-1], "size": DATA[:-1]}[change]), "a.tar")
    assert store.unchanged("a.tar", size=len(DATA), sha256=SHA256, tag=tag) is (change == "none")


def test_half_made_files_go_and_finished_ones_stay(store: Store) -> None:
    """Tidying empties the scratch folder and the notes, nothing else."""
    store.write("index.json", b"{}")
    _grown(store)
    store.note(f"{PARTIAL}/train-000000.now", b"[]")
    store.tidy()
    assert list(store.list("")) == ["index.json"]
    assert list(store.scratch().iterdir()) == []


@pytest.mark.parametrize(
    "path", ["index.json", ".slideprep/journal.json", ".slideprep/shards/train-000000.json"]
)
def test_what_a_kill_left_of_a_write_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A process that ends in the middle of a write leaves a half-made file in any folder of the set."""
    store = LocalStore(tmp_path / "set")
    monkeypatch.setattr("slideprep.storage.files.os.fsync", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(path, b"{}")
    assert len(store.list("")) == 1
    store.tidy()
    assert not store.list("")


def _interrupted(_: int) -> None:
    raise KeyboardInterrupt


def test_a_file_in_the_place_of_the_folder_is_found(store: Store) -> None:
    """A store cannot begin where a file is."""
    store.write("file", b"")
    with pytest.raises(NotADirectoryError):
        open_store(store.place / "file").top()


def test_a_finished_shard_in_s3_is_recognised_without_reading_it(s3: FaultyS3) -> None:
    """The store's own tag tells; no content is fetched, whatever the shard's size."""
    store = open_store(Url("s3://sets/tags"))
    tag = store.publish(_grown(store), "a.tar").tag
    before = s3.count("/a.tar")
    assert tag is not None
    assert store.unchanged("a.tar", size=len(DATA), sha256=SHA256, tag=tag)
    assert s3.count("/a.tar") == before
    assert store.unchanged("a.tar", size=len(DATA), sha256=SHA256, tag=None)
    assert s3.count("/a.tar") == before + 1


@pytest.mark.parametrize("fault", ["drop", "503", "cut", "short"])
def test_a_request_that_fails_is_made_again(s3: FaultyS3, fault: Fault, tmp_path: Path) -> None:
    """Dropped, refused for being busy, cut off or cut short: every operation ends with the right bytes."""
    store = open_store(Url(f"s3://sets/{fault}"), scratch=tmp_path)
    for method in ("PUT", "HEAD", "GET", "GET"):
        s3.fail(fault, method=method, path=f"/{fault}/", times=2)
    store.publish(_grown(store), "a.tar")
    with store.fetched("a.tar") as local:
        assert local.read_bytes() == DATA
    store.write("b", b"small")
    assert store.read("b") == b"small"
    s3.shake(0)


def test_after_a_stated_number_of_attempts_it_stops(s3: FaultyS3) -> None:
    """A store that never answers ends the build with what was kept and what to do, and reading with its reason."""
    store = open_store(Url("s3://sets/silent"))
    s3.fail("503", method="PUT", path="/silent/", times=10_000)
    with pytest.raises(
        OutputError, match=r"no answer from the store in 6 attempts.*finished shards are kept"
    ):
        store.write("a", b"")
    assert s3.count("/silent/a", method="PUT") >= ATTEMPTS
    s3.fail("503", method="HEAD", path="/silent/", times=10_000)
    with pytest.raises(UnansweredError):
        store.read("a")
    s3.shake(0)


@pytest.mark.parametrize("file", [".slideprep/journal.json", "index.json"])
def test_a_set_that_cannot_be_reached_is_not_called_faulty(file: str, s3: FaultyS3) -> None:
    """An outage is said to be one; verify does not blame the set for it."""
    s3.fail("503", method="HEAD", path=f"/unreached/{file}", times=10_000)
    with pytest.raises(OutputError, match=re.escape(f"cannot read s3://sets/unreached/{file}: no answer")):
        verify("s3://sets/unreached")
    s3.shake(0)


def test_what_is_refused_for_good_is_not_asked_again(s3: FaultyS3) -> None:
    """No permission: one request, and the reason."""
    s3.fail("403", method="HEAD", path="/denied/a", times=10)
    with pytest.raises(PermissionError):
        open_store(Url("s3://sets/denied")).read("a")
    assert s3.count("/denied/a", method="HEAD") == 1
    s3.shake(0)


def test_secrets_and_signed_addresses_are_taken_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a client says, neither a key of the environment nor a signature is repeated."""
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2026&sig=abcdef")
    text = remote._plain(OSError(5, "no route to https://h/c/b?sv=2026&sig=abcdef for sv=2026&sig=abcdef"))
    assert "abcdef" not in text
    assert text.startswith("no route to https://h/c/b?...")


def test_a_missing_client_is_named_with_what_to_install() -> None:
    """An address whose package is not installed is refused before any work."""
    pytest.importorskip("fsspec")
    try:
        import gcsfs  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"gs:// is not installed; pip install 'slideprep\[gcs\]'"):
            open_store(Url("gs://bucket/set"))
    else:
        pytest.skip("gcsfs is installed, so its absence cannot be seen")


def test_an_unknown_protocol_is_refused() -> None:
    """A typing error in front of :// is not taken for a path."""
    with pytest.raises(
        UsageError, match=r"s33://bucket/set cannot be used .* begin with s3://, gs://, az://"
    ):
        open_store(Url("s33://bucket/set"))
