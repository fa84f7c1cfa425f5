"""The shards that a change concerns, written again under ``.slideprep/next``; all others keep every byte.

In: the set as it is, and where its slides go afterwards. Out: the records of all shards. Samples of slides that are no
longer there are left out, samples whose class changed get it; colour sums are those of the images that stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from slideprep.building.plan import Sample
from slideprep.building.workspace import Workspace
from slideprep.errors import InputError
from slideprep.growing.current import CurrentSet
from slideprep.shards.format import IMAGE_EXTENSIONS, ImageEncoding, ShardFile, key_for, shard_name
from slideprep.shards.records import ShardRecord, Sums, read_sums, total_sums, written_sums
from slideprep.shards.tar_copy import Label, check_bytes, copy_tar, described, members, unreadable
from slideprep.shards.verify.image import PixelSums, decode, image_header
from slideprep.storage.files import output_errors
from slideprep.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Edits:
    """What becomes of the samples of a set.

    Attributes:
        drop: Keys of samples that go.
        labels: New class by key, of samples that have one.
        forget: Slides whose failures go.
    """

    drop: frozenset[str] = frozenset()
    labels: Mapping[str, Label]
    forget: frozenset[str] = frozenset()

    def concern(self, record: ShardRecord) -> bool:
        """Whether a shard's tars have to be written again."""
        return any(key in self.drop or key in self.labels for key in record.keys)


def edits_between(
    before: Mapping[str, Sample],
    after: Mapping[str, Sample],
    classes: tuple[str, ...],
    forget: Collection[str],
) -> Edits:
    """What leads from one set of samples to another that has no new ones.

    Args:
        before: Samples by key.
        after: Samples by key.
        classes: The classes afterwards.
        forget: Slides whose failures go.
    """
    return Edits(
        drop=frozenset(before.keys() - after.keys()),
        labels={
            key: (sample.label, classes.index(sample.label))
            for key, sample in after.items()
            if sample.label is not None and sample.label != before[key].label
        },
        forget=frozenset(forget),
    )


def rewrite_shards(
    current: CurrentSet, edits: Edits, source: Store, workspace: Workspace
) -> dict[str, ShardRecord]:
    """Write the shards that edits concern, and the records that name what is to be forgotten.

    Args:
        current: The set.
        edits: What to do.
        source: Its folder.
        workspace: That of the folder under which to write; shards that an interrupted run finished are kept.

    Returns:
        New records by the shard's name.

    Raises:
        InputError: A tar is damaged.
        OutputError: Something cannot be written.
    """
    made = {}
    for record in current.finished.records:
        name = shard_name(record.split, record.number)
        if edits.concern(record):
            made[name] = _rewritten(record, edits, current.index.image, source, workspace)
        elif any(row.slide in edits.forget for row in (*record.failures, *record.left_out)):
            made[name] = _without_forgotten(record, edits)
            workspace.save_record(name, made[name])
    return made


def _without_forgotten(record: ShardRecord, edits: Edits) -> ShardRecord:
    failures, left_out = (
        tuple(row for row in rows if row.slide not in edits.forget)
        for rows in (record.failures, record.left_out)
    )
    gone = edits.drop | {
        key_for(row.slide, row.region)
        for row in record.left_out
        if row.slide in edits.forget and row.region is not None
    }
    quality = {key: found for key, found in record.quality.items() if key not in gone}
    return record.model_copy(update={"failures": failures, "left_out": left_out, "quality": quality})


def _rewritten(
    record: ShardRecord, edits: Edits, image: ImageEncoding, source: Store, workspace: Workspace
) -> ShardRecord:
    name = shard_name(record.split, record.number)
    digest = _digest(record, edits)
    finished = workspace.finished_record(name, digest)
    if finished is not None:
        return finished
    kept = [position for position, key in enumerate(record.keys) if key not in edits.drop]
    recount = record.sums is not None and len(kept) < len(record.keys)
    files, tags, sums = {}, {}, dict(record.sums or {})
    sample_sums = dict(record.sample_sums)
    for magnification, file in record.files.items():
        grown = workspace.store.scratch() / f"{magnification}-{name}.tar.partial"
        with output_errors(grown):
            _copy(source, file, grown, edits)
            files[magnification] = described(grown, file.path)
            if recount and (known := read_sums(sample_sums.get(magnification, ""))):
                left = [known[position] for position in kept]
                sums[magnification], sample_sums[magnification] = total_sums(left), written_sums(left)
            elif recount:
                sums[magnification] = count_pixels(grown, image)
        if (tag := workspace.store.publish(grown, file.path).tag) is not None:
            tags[magnification] = tag
    made = _without_forgotten(record, edits).model_copy(
        update={
            "digest": digest,
            "keys": tuple(record.keys[position] for position in kept),
            "cells": tuple(record.cells[position] for position in kept),
            "files": files,
            "tags": tags,
            "sums": None if record.sums is None else sums,
            "sample_sums": sample_sums,
        }
    )
    workspace.save_record(name, made)
    return made


def _copy(source: Store, file: ShardFile, grown: Path, edits: Edits) -> None:
    with ExitStack() as stack:
        try:
            old = stack.enter_context(source.fetched(file.path))
        except (FileNotFoundError, PermissionError) as error:
            raise unreadable(file, error) from error
        check_bytes(old, file)
        copy_tar(old, grown, drop=edits.drop, labels=edits.labels)


def _digest(record: ShardRecord, edits: Edits) -> str:
    """SHA-256 of everything that decides the shard's new bytes."""
    keys = set(record.keys)
    parts = (
        sorted(file.sha256 for file in record.files.values()),
        sorted(keys & edits.drop),
        sorted((key, label) for key, label in edits.labels.items() if key in keys),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def count_pixels(path: Path, image: ImageEncoding) -> Sums:
    """Sums over the decoded pixels of all images of a tar, for records of earlier versions.

    Raises:
        InputError: An image cannot be decoded.
    """
    total = PixelSums()
    for data in members(path, IMAGE_EXTENSIONS[image.format]):
        view = memoryview(data)
        try:
            _, (width, height) = image_header(view, image.format)
            total += decode(view, image.format, pixels=width * height)
        except ValueError as error:
            raise InputError(
                f"an image of {path.name.removesuffix('.partial')} cannot be decoded ({error}), so the colour "
                "statistics cannot be computed without the slides that go; run 'slideprep verify'; nothing was changed"
            ) from error
    return Sums(pixels=total.pixels, sums=_rgb(total.sums), squares=_rgb(total.squares))


def _rgb(values: tuple[int, ...]) -> tuple[int, int, int]:
    red, green, blue = values
    return red, green, blue
