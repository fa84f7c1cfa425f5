"""A set in an object store changes as one on disk does, through dropped connections, 503s and kills."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.builds import set_to_change, shard_bytes, slideprep
from fixtures.buckets import quick_lock, s3_with_buckets
from fixtures.faulty_s3 import FaultyS3
from slideprep.storage.url import UrlStore

NEXT = ".slideprep/next"


class _Killed(BaseException):
    """Stands for a killed process: nothing may handle it."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of five slides, two more to add, and tables."""
    return set_to_change(tmp_path_factory.mktemp("local"), old=5, new=2, relabelled=1)


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    """The server."""
    with s3_with_buckets() as server, quick_lock():
        yield server


@pytest.fixture
def bucket(s3: FaultyS3, local: Path, tmp_path: Path) -> Iterator[str]:
    """Path of the set in a bucket."""
    path = f"sets/{tmp_path.name}"
    s3.upload(local / "out", path, without={".slideprep/lock"})
    yield path
    s3.shake(0)


def _commands(folder: Path, out: str | Path) -> dict[str, tuple[str | Path, ...]]:
    return {
        "add-slides": ("add-slides", out, folder / "new", "--labels", folder / "new.csv", "--workers", "0"),
        "relabel": ("relabel", out, "--labels", folder / "other.csv"),
        "remove-slides": ("remove-slides", out, "slide-1"),
    }


def test_a_set_in_a_bucket_changes_like_one_on_disk(
    s3: FaultyS3, bucket: str, local: Path, tmp_path: Path
) -> None:
    """Described, added to, relabelled and reduced through a network that fails, all bytes are those on disk."""
    shutil.copytree(local / "out", tmp_path / "set")
    s3.shake(0.05)
    for out in (tmp_path / "set", f"s3://{bucket}"):
        assert slideprep("croissant", out, "--name", "Lungs").code == 0
    for kind in ("add-slides", "relabel", "remove-slides"):
        assert slideprep(*_commands(local, tmp_path / "set")[kind]).code == 0
        run = slideprep(*_commands(local, f"s3://{bucket}")[kind], "--scratch", tmp_path / "scratch")
        assert run.code == 0, run.said
        assert shard_bytes(s3.download(bucket, tmp_path / "copy")) == shard_bytes(tmp_path / "set")
    s3.shake(0)
    for name in ("croissant.json", "samples.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()
    assert s3.faults, "the network never failed"
    verified = slideprep("verify", f"s3://{bucket}")
    assert verified.code == 0, verified.said
    assert not s3.client().find(f"{bucket}/{NEXT}")
    traces = [name for name, data in _bytes(tmp_path / "copy").items() if b"slide-1.svs" in data]
    assert traces == []


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("moment", [3, 15, 24, 40])
def test_a_change_in_a_bucket_that_is_killed_is_completed(
    moment: int, s3: FaultyS3, bucket: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before its nth write, removal or upload, a removal is completed by the same command."""
    shutil.copytree(local / "out", tmp_path / "set")
    assert slideprep(*_commands(local, tmp_path / "set")["remove-slides"]).code == 0
    command = (*_commands(local, f"s3://{bucket}")["remove-slides"], "--scratch", tmp_path / "scratch")
    with monkeypatch.context() as patch:
        count = _end_at(moment, patch)
        with pytest.raises(_Killed):
            slideprep(*command)
    assert count() == moment
    run = slideprep(*command)
    assert run.code == 0, run.said
    assert shard_bytes(s3.download(bucket, tmp_path / "copy")) == shard_bytes(tmp_path / "set")
    assert slideprep("verify", f"s3://{bucket}").code == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "journal.json"), ("GET", "set.json"), ("GET", "10x/train"), ("HEAD", "10x/train")],
)
def test_a_store_that_does_not_answer_ends_a_change(
    method: str, path: str, s3: FaultyS3, bucket: str, local: Path
) -> None:
    """Exit 1 and the network is named, not the set; above all nothing begins beside a journal that was not seen."""
    command = _commands(local, f"s3://{bucket}")["remove-slides"]
    s3.fail("503", method=method, path=path, times=9999)
    ended = slideprep(*command)
    s3.shake(0)
    assert ended.code == 1, ended.said
    assert "no answer from the store in 6 attempts" in ended.said
    assert "delete index.json" not in ended.said
    assert slideprep("verify", f"s3://{bucket}", "--quick").code == 0
    assert slideprep(*command).code == 0


def test_a_tar_that_is_gone_from_a_bucket_is_told(s3: FaultyS3, bucket: str, local: Path) -> None:
    """Exit 1, the tar is named, and nothing was changed."""
    (held,) = [p for p in s3.client().find(bucket) if b"slide-1.svs" in _head(s3, p) and "/10x/" in p]
    s3.client().rm_file(held)
    ended = slideprep(*_commands(local, f"s3://{bucket}")["remove-slides"])
    assert ended.code == 1
    assert (
        f"{held.removeprefix(bucket)[1:]} cannot be read: No such file or directory; nothing was changed"
        in ended.said
    )


def _head(server: FaultyS3, path: str) -> bytes:
    return bytes(server.client().cat_file(path))


@pytest.mark.parametrize("kind", ["verify", "add-slides", "remove-slides", "relabel"])
def test_wrong_credentials_are_told_before_any_work(
    kind: str, s3: FaultyS3, bucket: str, local: Path
) -> None:
    """Exit 2: the set cannot be read; nothing says that it is unfinished."""
    out = f"s3://{bucket}"
    for method in ("GET", "HEAD", "PUT"):
        s3.fail("403", method=method, times=999)
    refused = slideprep(*{"verify": ("verify", out), **_commands(local, out)}[kind])
    s3.shake(0)
    assert refused.code == 2
    assert f"{out} cannot be read: Permission denied" in refused.said


def _end_at(moment: int, patch: pytest.MonkeyPatch) -> Callable[[], int]:
    done = 0

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: UrlStore, *arguments: Any) -> Any:
            nonlocal done
            if done == moment:
                raise _Killed
            done += 1
            return original(self, *arguments)

        return wrapped

    for name in ("write", "publish", "remove"):
        patch.setattr(UrlStore, name, counting(getattr(UrlStore, name)))
    return lambda: done
