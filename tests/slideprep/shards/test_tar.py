"""Truths of the tars that are written in place: webdataset's bytes, a checksum of the file, samples taken back."""

from __future__ import annotations

import hashlib
import io
from contextlib import suppress
from pathlib import Path

import pytest
from webdataset import TarWriter

from slideprep.shards import tar as shard_tar
from slideprep.shards.format import TAR_MODE, TAR_OWNER
from slideprep.shards.tar import ShardTar

IMAGES = {"a-1": b"\xff\xd8one\xff\xd9" * 7, "b-2": bytes(range(256)) * 16, "c-3": b""}


def members(key: str, *, label: bool = True, extension: str = "jpg") -> dict[str, bytes | None]:
    """A sample's members in order; the image as None."""
    found: dict[str, bytes | None] = {f"{key}.json": b"{}", f"{key}.{extension}": None}
    if label:
        found[f"{key}.cls"] = b"2"
    return dict(sorted(found.items()))


def written(path: Path, *, extension: str = "jpg", label: bool = True, undone: bool = False) -> ShardTar:
    """A tar of IMAGES, with a sample taken back after each where asked for."""
    with ShardTar(path) as tar:
        for key, image in IMAGES.items():
            for take_back in [True, False] if undone else [False]:
                file = tar.begin(members(key, label=label, extension=extension))
                for start in range(0, len(image), 100):
                    file.write(image[start : start + 100])
                if take_back:
                    tar.undo()
                else:
                    tar.finish()
    return tar


def by_webdataset(*, extension: str, label: bool) -> bytes:
    """The same samples through webdataset's writer."""
    out = io.BytesIO()
    writer = TarWriter(
        out, user=TAR_OWNER, group=TAR_OWNER, mode=TAR_MODE, compress=False, encoder=False, mtime=0
    )
    for key, image in IMAGES.items():
        fields = {"json": b"{}", extension: image} | ({"cls": b"2"} if label else {})
        writer.write({"__key__": key, **fields})
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_the_bytes_are_those_of_webdatasets_writer(tmp_path: Path, extension: str, label: bool) -> None:
    """Wherever the image stands among the members, and where it is empty."""
    tar = written(tmp_path / "made.tar", extension=extension, label=label)
    assert tar.path.read_bytes() == by_webdataset(extension=extension, label=label)


@pytest.mark.parametrize("hashed_bytes", [1, shard_tar.HASHED_BYTES])
def test_size_and_checksum_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed_bytes: int
) -> None:
    """Whether it is read back after every sample or in the end alone."""
    monkeypatch.setattr(shard_tar, "HASHED_BYTES", hashed_bytes)
    tar = written(tmp_path / "made.tar", undone=True)
    data = tar.path.read_bytes()
    assert (tar.size, tar.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_sample_that_was_taken_back_leaves_no_trace(tmp_path: Path) -> None:
    """A tar with samples begun and undone is the tar without them."""
    clean = written(tmp_path / "clean.tar")
    undone = written(tmp_path / "undone.tar", undone=True)
    assert undone.path.read_bytes() == clean.path.read_bytes()


def test_a_tar_that_is_given_up_has_no_end(tmp_path: Path) -> None:
    """After an exception the file is closed as it is: nothing takes it for a whole tar."""
    with suppress(OSError), ShardTar(tmp_path / "made.tar") as tar:
        tar.begin(members("a-1")).write(b"half")
        raise OSError("full")
    assert tar.path.read_bytes().endswith(b"half")
