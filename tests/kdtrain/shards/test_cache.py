"""The cache of fetched shards: bounded, shared between processes, and never without what is being read."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.waiting import PATIENCE_S
from kdtrain.errors import UsageError
from kdtrain.shards.cache import CacheSettings, ShardCache, cache_settings
from kdtrain.shards.error import ShardError
from kdtrain.shards.models import ShardFile

SIZE = 1000
FORK = multiprocessing.get_context("fork")


def content(name: str) -> bytes:
    """A thousand bytes."""
    return (name.encode() * SIZE)[:SIZE]


def shard(name: str) -> ShardFile:
    """The index's entry of a file with that content."""
    return ShardFile(path=f"10x/{name}.tar", bytes=SIZE, sha256=hashlib.sha256(content(name)).hexdigest())


def bringing(name: str, log: list[str] | None = None) -> Callable[[Path], None]:
    """A fetch that notes down that it was asked."""

    def fetch(target: Path) -> None:
        if log is not None:
            log.append(name)
        target.write_bytes(content(name))

    return fetch


def cache_of(folder: Path, files: float) -> ShardCache:
    """A cache with room for so many files."""
    return ShardCache(CacheSettings(directory=folder, limit_bytes=int(files * SIZE)))


def read(cache: ShardCache, name: str, log: list[str] | None = None) -> None:
    """Read a whole file, which must be the right one."""
    with cache.reading(shard(name), bringing(name, log)) as tar:
        assert tar.read() == content(name)


def kept(folder: Path) -> set[str]:
    """Names of the files of a to j that are in the cache."""
    return {name for name in "abcdefghij" if (folder / f"{shard(name).sha256}.tar").exists()}


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it was evicted meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def run_in_processes(*works: Callable[[], None]) -> list[int]:
    """Exit codes of functions run side by side, each in a process of its own."""
    processes = [FORK.Process(target=work) for work in works]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    return [process.exitcode for process in processes]


def test_a_shard_is_fetched_once(tmp_path):
    """Three readings of a shard, by two users of the folder, fetch it once."""
    log: list[str] = []
    for cache in (cache_of(tmp_path, 2), cache_of(tmp_path, 2)):
        read(cache, "a", log)
        read(cache, "a", log)
    assert log == ["a"]


def test_what_was_not_read_for_longest_goes_first(tmp_path):
    """With room for two files, reading a, b, a, c leaves a and c."""
    cache = cache_of(tmp_path, 2.5)
    for name in "abac":
        read(cache, name)
    assert kept(tmp_path) == {"a", "c"}


def test_what_is_fetched_ahead_counts_as_read(tmp_path):
    """Asking for a again, without reading it, makes b the one that goes."""
    cache = cache_of(tmp_path, 2)
    for name in "aba":
        cache.ensure(shard(name), bringing(name))
    read(cache, "c")
    assert kept(tmp_path) == {"a", "c"}


def test_what_is_kept_counts_as_read_and_is_not_fetched(tmp_path):
    """Keeping a makes b the one that goes; keeping b then does not bring it back."""
    cache = cache_of(tmp_path, 2)
    for name in "ab":
        read(cache, name)
    cache.keep(shard("a"))
    read(cache, "c")
    cache.keep(shard("b"))
    assert kept(tmp_path) == {"a", "c"}


def test_what_is_not_wanted_any_more_is_not_fetched(tmp_path):
    """It is asked once it is certain that nobody else fetches; what is there stays."""
    cache = cache_of(tmp_path, 2)
    read(cache, "a")
    for name in "ab":
        cache.ensure(shard(name), bringing(name), wanted=lambda: False)
    assert kept(tmp_path) == {"a"}
    assert [path.name for path in tmp_path.glob("*.lock")] == ["cache.lock"]


def test_what_is_being_read_is_not_evicted(tmp_path):
    """A fetch without room waits for the reader of the only other file to be done."""
    done: list[str] = []
    waiting = threading.Thread(target=lambda: (read(cache_of(tmp_path, 1), "b"), done.append("b")))
    with cache_of(tmp_path, 1).reading(shard("a"), bringing("a")) as tar:
        waiting.start()
        time.sleep(0.3)
        assert (kept(tmp_path), done) == ({"a"}, [])
        assert tar.read() == content("a")
    waiting.join(PATIENCE_S)
    assert (kept(tmp_path), done) == ({"b"}, ["b"])


def test_one_process_fetches_and_the_others_wait(tmp_path):
    """Four processes that want one shard at once fetch it once, and all read it."""
    log = tmp_path / "log"

    def slowly(target: Path) -> None:
        with log.open("a") as file:
            file.write("fetched\n")
        time.sleep(0.3)
        target.write_bytes(content("a"))

    def work() -> None:
        with cache_of(tmp_path / "cache", 2).reading(shard("a"), slowly) as tar:
            assert tar.read() == content("a")

    assert run_in_processes(*[work] * 4) == [0] * 4
    assert log.read_text() == "fetched\n"


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path):
    """After SIGKILL in the middle of a fetch the next one succeeds, and the half file takes no room."""

    def hang(target: Path) -> None:
        target.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        cache_of(tmp_path, 2).ensure(shard("a"), hang)

    assert run_in_processes(work) == [-signal.SIGKILL]
    assert [path.suffix for path in tmp_path.iterdir() if path.stat().st_size] == [".partial"]
    for name in "bc":
        read(cache_of(tmp_path, 2), name)
    assert kept(tmp_path) == {"b", "c"}
    assert not list(tmp_path.glob("*.partial"))
    read(cache_of(tmp_path, 2), "a")


def test_the_bound_holds_while_many_read(tmp_path):
    """Three processes reading ten files in any order: room for four is never exceeded, and all they read is right."""

    def work(seed: int) -> None:
        draw, cache = random.Random(seed), cache_of(tmp_path, 4)
        for _ in range(60):
            read(cache, draw.choice("abcdefghij"))
            assert sum(map(size_of, list(tmp_path.iterdir()))) <= 4 * SIZE

    assert run_in_processes(*[lambda seed=seed: work(seed) for seed in range(3)]) == [0] * 3
    assert 0 < len(kept(tmp_path)) <= 4


def test_a_failed_fetch_leaves_nothing(tmp_path):
    """The error of a fetch comes through, and neither a file nor a lock stays."""

    def broken(target: Path) -> None:
        target.write_bytes(b"half")
        raise ShardError("storage", "s3://bucket/set", "the last attempt failed")

    with pytest.raises(ShardError, match="the last attempt failed"):
        cache_of(tmp_path, 1).ensure(shard("a"), broken)
    assert [path.name for path in tmp_path.iterdir()] == ["cache.lock"]


def test_a_full_disk_is_told_with_the_option_that_helps(tmp_path):
    """No space left: the message names the folder and --shard-cache."""

    def full(target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ShardError, match=r"No space left on device .*--shard-cache") as caught:
        cache_of(tmp_path, 1).ensure(shard("a"), full)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_was_cut_off_is_fetched_again(tmp_path):
    """A cached file of another size than the index states is not read."""
    cache, log = cache_of(tmp_path, 1), []
    read(cache, "a", log)
    os.truncate(tmp_path / f"{shard('a').sha256}.tar", 10)
    read(cache, "a", log)
    assert log == ["a", "a"]


def test_a_forked_process_keeps_no_lock(tmp_path):
    """A process forked while a file is read does not keep that file from being evicted afterwards."""
    cache, go_on = cache_of(tmp_path, 1), FORK.Event()
    with cache.reading(shard("a"), bringing("a")):
        process = FORK.Process(target=go_on.wait, args=(PATIENCE_S,))
        process.start()
    read(cache, "b")
    go_on.set()
    process.join(PATIENCE_S)
    assert kept(tmp_path) == {"b"}


def test_a_folder_that_cannot_be_made_is_refused():
    """The message names the folder, the option and the variable."""
    with pytest.raises(UsageError, match=r"/dev/null/cache .*--shard-cache or KDTRAIN_SHARD_CACHE"):
        cache_of(Path("/dev/null/cache"), 1)


def test_the_folder_is_the_option_then_the_variable_then_the_users(tmp_path, monkeypatch):
    """--shard-cache, KDTRAIN_SHARD_CACHE, XDG_CACHE_HOME, and ~/.cache, the first that is there; 20 GB."""
    monkeypatch.setenv("HOME", "/home/ada")
    for name in ("XDG_CACHE_HOME", "KDTRAIN_SHARD_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert cache_settings().directory == Path("/home/ada/.cache/kdtrain/shards")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/ada")
    assert cache_settings().directory == Path("/var/ada/kdtrain/shards")
    monkeypatch.setenv("KDTRAIN_SHARD_CACHE", "/scratch/shards")
    assert cache_settings().directory == Path("/scratch/shards")
    assert cache_settings(tmp_path, 1.5) == CacheSettings(directory=tmp_path, limit_bytes=1_500_000_000)
    assert cache_settings().limit_bytes == 20_000_000_000
