"""A tar of a set in, the same tar without some samples or with other labels out; image bytes are copied as they are."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from slideprep.errors import InputError
from slideprep.shards.format import SampleRecord, ShardFile, dump_json, member_info
from slideprep.storage.files import file_sha256

Label = tuple[str, int]
"""A class and its number."""


def copy_tar(source: Path, target: Path, *, drop: Collection[str], labels: Mapping[str, Label]) -> None:
    """Write a tar again; synced, but not renamed.

    With nothing to drop and no label to change, the bytes are those of the source.

    Args:
        source: A tar of a sound set.
        target: The file to write.
        drop: Keys of samples that are left out.
        labels: New class by key, of samples that have one.

    Raises:
        OSError: A file cannot be read or written.
    """
    with (
        source.open("rb") as read,
        tarfile.open(fileobj=read, mode="r:") as old,
        target.open("wb") as written,
    ):
        with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as new:
            for member in old:
                key, _, extension = member.name.partition(".")
                if key in drop:
                    continue
                if key in labels and extension in ("cls", "json"):
                    data = _relabelled(extension, _content(old, member), *labels[key])
                    new.addfile(member_info(member.name, len(data)), io.BytesIO(data))
                else:
                    new.addfile(member_info(member.name, member.size), old.extractfile(member))
        written.flush()
        os.fsync(written.fileno())


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None, f"{member.name} is no file, which the checksum excludes"
    return file.read()


def _relabelled(extension: str, data: bytes, label: str, number: int) -> bytes:
    if extension == "cls":
        return str(number).encode()
    return dump_json(SampleRecord.model_validate_json(data).model_copy(update={"label": label}))


def members(path: Path, extension: str) -> Iterator[bytes]:
    """The content of all members of one extension, one at a time."""
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            if member.name.endswith(f".{extension}"):
                yield _content(tar, member)


def check_bytes(path: Path, file: ShardFile) -> None:
    """Refuse a tar that is not what the index says: what is damaged must not be copied under a new checksum.

    Raises:
        InputError: It has another size or checksum, or cannot be read.
    """
    try:
        found = described(path, file.path)
    except OSError as error:
        raise unreadable(file, error) from error
    if (found.bytes, found.sha256) != (file.bytes, file.sha256):
        raise InputError(
            f"{file.path} has other bytes than the index says, so it cannot be written again; run 'slideprep verify', "
            "and restore the file; nothing was changed"
        )


def unreadable(file: ShardFile, error: OSError) -> InputError:
    """What to say of a tar that is not there or may not be read."""
    return InputError(f"{file.path} cannot be read: {error.strerror}; nothing was changed")


def described(path: Path, shown: str) -> ShardFile:
    """Size and checksum of a file, under its path in the set."""
    return ShardFile(path=shown, bytes=path.stat().st_size, sha256=file_sha256(path))
