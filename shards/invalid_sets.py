"""The invalid sets: the smallest valid set, broken in one place each. Run make_golden.py to write them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from golden_set import Case, Draft, Files, Json, Member, seal
from PIL import Image

FIRST = Case(slide="a.svs", patient="P1", label="gland", cells=(32, 32))
SECOND = Case(slide="b.svs", patient="P2", label="stroma", cells=(32, 32))


def minimal(**edits: Any) -> Files:
    """The smallest valid set, one sample in one tar: what most invalid sets start from."""
    draft = Draft(
        magnifications=[5],
        grid={"5x": 1},
        quality=50,
        shards=[("train", 0, [FIRST])],
        sets={"train": ["train"]},
        slack=False,
    )
    return seal(replace(draft, **edits))


def two(**edits: Any) -> Files:
    """The smallest valid set of two samples in one tar."""
    return minimal(shards=[("train", 0, [FIRST, SECOND])], **edits)


def pair(**edits: Any) -> Files:
    """The smallest valid set of two magnifications."""
    return minimal(magnifications=[5, 2.5], grid={"5x": 2, "2.5x": 1}, **edits)


def unlabelled(**edits: Any) -> Files:
    """The smallest valid set of an unlabelled split, which has no statistics."""
    shards = [("train", 0, [replace(FIRST, label=None)])]
    return minimal(shards=shards, edit_index=set_in("statistics", None), **edits)


def set_in(path: str, value: Any) -> Callable[[Json], None]:
    """An edit that sets one value: ``set_in("region.x", 5)``."""

    def edit(document: Json) -> None:
        *parents, last = path.split(".")
        for name in parents:
            document = document[int(name)] if isinstance(document, list) else document[name]
        document[last] = value

    return edit


def brighter(index: Json) -> None:
    """An edit that moves a mean by half a grey level: what an encoding may do, and a decoder may not."""
    index["statistics"]["5x"]["mean"][0] += 0.5


def at_5x(path: str, value: Any) -> Callable[[Json], None]:
    """An edit of the records at 5x only."""
    return lambda record: set_in(path, value)(record) if record["magnification"] == 5 else None


def rename(old: str, new: str) -> Callable[[str, list[Member]], list[Member]]:
    """An edit that replaces text in every member's name."""
    return lambda path, members: [replace(m, name=m.name.replace(old, new)) for m in members]


def change(suffix: str, edit: Callable[[bytes], bytes]) -> Callable[[str, list[Member]], list[Member]]:
    """An edit of the content of the first member that ends with ``suffix``."""

    def edit_members(path: str, members: list[Member]) -> list[Member]:
        at = next(i for i, m in enumerate(members) if m.name.endswith(suffix))
        return [replace(m, data=edit(m.data)) if i == at else m for i, m in enumerate(members)]

    return edit_members


def add(name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> Callable[[str, list[Member]], list[Member]]:
    """An edit that adds a member to the end of the first sample, which has three."""
    return lambda path, members: [
        *members[:3],
        Member(name=members[0].name.split(".")[0] + name, data=data, kind=kind),
        *members[3:],
    ]


def other_picture(size: tuple[int, int], mode: str = "RGB", kind: str = "JPEG") -> Callable[[bytes], bytes]:
    """An edit that replaces an image by a grey one of another size, mode or format."""

    def edit(_: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size).save(buffer, kind)
        return buffer.getvalue()

    return edit


def swap_samples(path: str, members: list[Member]) -> list[Member]:
    """At the lower magnification the second sample comes first."""
    return members[3:] + members[:3] if path.startswith("2.5x") else members


def two_splits(patients: tuple[str, str], slides: tuple[str, str], splits: tuple[str, str]) -> Files:
    """Two shards of one sample each."""
    names = dict.fromkeys(splits)
    numbers = (0, 0) if splits[0] != splits[1] else (0, 1)
    shards = [
        (split, number, [Case(slide=slide, patient=patient, label="gland", cells=(32, 32), region=region)])
        for region, (split, number, slide, patient) in enumerate(
            zip(splits, numbers, slides, patients, strict=True)
        )
    ]
    return minimal(shards=shards, sets={name: [name] for name in names})


def invalid() -> dict[str, Files]:
    """Files of every invalid set, by folder; a folder's name starts with the rule that the set breaks."""
    tar = "5x/train-000000.tar"
    return {
        "F01-index-present": minimal(edit_files=lambda files: files.pop("index.json")),
        "F02-index-schema": minimal(edit_index=lambda index: index.pop("grid")),
        "F02-index-schema-not-json": minimal(
            edit_files=lambda files: files.update({"index.json": b'{"format": '})
        ),
        "F03-format-name": minimal(edit_index=set_in("format", "other-shards")),
        "F04-format-version": minimal(edit_index=set_in("version", [2, 0])),
        "F05-index-shards": minimal(edit_index=set_in("shards.0.number", 1)),
        "F05-index-shards-path": minimal(edit_index=set_in("shards.0.files.5x.path", "../train-000000.tar")),
        "F06-index-sets": minimal(edit_index=set_in("sets.aux2", ["aux1"])),
        "F06-index-sets-sums": minimal(edit_index=set_in("splits.train.samples", 2)),
        "F07-file-present": minimal(edit_files=lambda files: files.pop(tar)),
        "F08-file-size": minimal(edit_files=lambda files: files.update({tar: files[tar] + bytes(512)})),
        "F09-file-checksum": minimal(
            edit_files=lambda files: files.update({tar: files[tar][:600] + b"\1" + files[tar][601:]})
        ),
        "F10-foreign-file": minimal(
            edit_files=lambda files: files.update({"5x/train-000001.tar.partial": b""})
        ),
        "F11-tar-whole-cut": minimal(edit_tar=lambda data: data[:-1536]),
        "F11-tar-whole-no-end": minimal(edit_tar=lambda data: data[:-1024]),
        "F11-tar-whole-header": minimal(edit_tar=lambda data: data[:2] + b"?" + data[3:]),
        "F12-member-kind": minimal(edit_members=add(".txt", b"/etc/hostname", tarfile.SYMTYPE)),
        "F13-member-name-absolute": minimal(edit_members=rename("a-", "/a-")),
        "F13-member-name-parent": minimal(edit_members=rename("a-", "../a-")),
        "F13-member-name-dot": minimal(edit_members=rename("a-", "a.b-")),
        "F14-member-field": minimal(edit_members=add(".npy", b"\x93NUMPY")),
        "F14-member-field-pickle": minimal(edit_members=add(".pyd", b"\x80\x04N.")),
        "F15-member-order": minimal(edit_members=lambda path, m: [m[1], m[0], *m[2:]]),
        "F15-member-order-split": two(edit_members=lambda path, m: [*m[:2], *m[3:], m[2]]),
        "F15-member-order-twice": minimal(edit_members=lambda path, m: [*m, *m[:3]]),
        "F16-sample-members": minimal(edit_members=lambda path, m: m[1:]),
        "F16-sample-members-no-image": minimal(edit_members=lambda path, m: [m[0], *m[2:]]),
        "F17-pairing": pair(shards=[("train", 0, [FIRST, SECOND])], edit_members=swap_samples),
        "F17-pairing-short": two(edit_members=lambda path, m: m[3:]),
        "F18-record-schema": minimal(edit_record=set_in("factor", "4")),
        "F19-record-place": minimal(edit_record=set_in("split", "val")),
        "F20-label": minimal(edit_members=change(".cls", lambda data: b"1")),
        "F20-label-text": minimal(edit_members=change(".cls", lambda data: b"0\n")),
        "F20-label-region": minimal(edit_record=set_in("region.class", "stroma")),
        "F20-label-unlabelled": unlabelled(edit_record=set_in("region.class", "gland")),
        "F21-image-header": minimal(edit_members=change(".jpg", other_picture((40, 32)))),
        "F21-image-header-grey": minimal(edit_members=change(".jpg", other_picture((32, 32), mode="L"))),
        "F21-image-header-format": minimal(edit_members=change(".jpg", other_picture((32, 32), kind="PNG"))),
        "F22-image-data": minimal(edit_members=change(".jpg", lambda data: data[: len(data) - 80])),
        "F23-record-paired": pair(edit_record=at_5x("patient", "P9")),
        "F24-geometry": minimal(edit_record=set_in("region.width", 130)),
        "F24-geometry-valid": minimal(edit_record=set_in("image.valid.x", 1)),
        "F25-key-derived": minimal(edit_record=set_in("slide", "c.svs")),
        "F26-patient-split": two_splits(("P1", "P1"), ("a.svs", "b.svs"), ("train", "test")),
        "F27-slide-shard": two_splits(("P1", "P1"), ("a.svs", "a.svs"), ("train", "train")),
        "F28-counts": minimal(edit_index=set_in("splits.train.patients", 2)),
        "F28-counts-class": minimal(edit_index=set_in("splits.train.per_class", {"gland": 0, "stroma": 1})),
        "F29-statistics": minimal(edit_index=set_in("statistics.5x.mean", [128, 128, 128])),
        "F29-statistics-decoded": minimal(statistics_of="decoded", edit_index=brighter),
        "F29-statistics-pixels": minimal(edit_index=set_in("statistics.5x.pixels", 1023)),
        "F29-statistics-shards": minimal(edit_index=set_in("statistics_shards", [0, 1])),
    }
