"""One tar by itself: rules F11 to F22 of shards/SHARD_FORMAT.md.

The headers are parsed here because tarfile ends silently at a damaged one and obeys extended headers: both would
hide what has to be found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from slideprep.shards.format import (
    FORMAT_VERSION,
    IMAGE_EXTENSIONS,
    MAX_KEY_LENGTH,
    MAX_RECORD_BYTES,
    Index,
    SampleRecord,
    ShardEntry,
    keys_sha256,
    magnification_name,
)
from slideprep.shards.verify.image import PixelSums, decode, image_header
from slideprep.shards.verify.index import messages
from slideprep.shards.verify.report import Fault

BLOCK = 512
FIELDS = {"cls", "json", *IMAGE_EXTENSIONS.values()}
STATISTICS_SPLIT = "train"

_NAME = re.compile(rf"([a-z0-9_-]{{1,{MAX_KEY_LENGTH}}})\.([^./]+)")
_OCTAL = re.compile(rb"[0-7]{11}\0")


@dataclass(frozen=True, kw_only=True)
class TarPlace:
    """Which tar: a shard at a magnification, in a set."""

    index: Index
    shard: ShardEntry
    magnification: float

    @property
    def path(self) -> str:
        """Relative to the set's folder."""
        return self.shard.files[magnification_name(self.magnification)].path


@dataclass(kw_only=True)
class TarFacts:
    """What a tar holds, as far as it can be read.

    Attributes:
        place: Which tar.
        bytes: Its size.
        faults: F07 to F09 and F11 to F22.
        records: The samples' records by key, in order; None where a record is at fault.
        complete: Whether every sample of the index is there under its key.
        decoded: Number of images decoded whole.
        sums: Sums over the pixels of those images.
    """

    place: TarPlace
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    records: dict[str, SampleRecord | None] = field(default_factory=dict)
    complete: bool = False
    decoded: int = 0
    sums: PixelSums = field(default_factory=PixelSums)

    def fault(self, rule: str, message: str, key: str | None = None) -> None:
        """Note a fault."""
        self.faults.append(Fault(rule=rule, path=self.place.path, key=key, message=message))


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    kind: bytes
    content: memoryview
    has_prefix: bool


def check_tar(place: TarPlace, data: memoryview) -> TarFacts:
    """Read a tar from end to end: layout, then every sample."""
    facts = TarFacts(place=place, bytes=len(data))
    samples = _samples(data, facts)
    readable = not any(fault.rule[:3] in {"F11", "F13"} for fault in facts.faults)
    if readable:
        _check_keys(list(samples), facts)
    facts.complete = not any(fault.rule[:3] in {"F11", "F13", "F17"} for fault in facts.faults)
    sizes = dict(zip(samples, _sizes(place), strict=False)) if facts.complete else {}
    for key, fields in samples.items():
        facts.records[key] = _check_sample(key, fields, sizes.get(key), facts, expect_whole=readable)
    return facts


def _sizes(place: TarPlace) -> list[tuple[int, int]]:
    cell_px = place.index.grid.get(magnification_name(place.magnification), 1)
    return [(columns * cell_px, rows * cell_px) for columns, rows in place.shard.cells]


def _samples(data: memoryview, facts: TarFacts) -> dict[str, dict[str, memoryview]]:
    samples: dict[str, dict[str, memoryview]] = {}
    last = ("", "")
    for member in _members(data, facts):
        if member.kind != b"0":
            facts.fault("F12 member-kind", f"not a regular file but type {member.kind!r}", member.name)
            continue
        match = _NAME.fullmatch(member.name)
        if match is None or member.has_prefix:
            facts.fault(
                "F13 member-name", "not '<key>.<extension>', key of a-z, 0-9, '_' and '-'", member.name
            )
            continue
        key, extension = match.groups()
        if extension not in FIELDS:
            facts.fault("F14 member-field", f"fields are {sorted(FIELDS)}", member.name)
            continue
        if (key == last[0] and extension <= last[1]) or (key != last[0] and key in samples):
            facts.fault(
                "F15 member-order", "out of order, apart from its sample, or there twice", member.name
            )
        samples.setdefault(key, {}).setdefault(extension, member.content)
        last = (key, extension)
    return samples


def _members(data: memoryview, facts: TarFacts) -> Iterator[_Member]:
    at = 0
    while at + BLOCK <= len(data) and any(block := bytes(data[at : at + BLOCK])):
        size = _member_size(block)
        if size is None:
            facts.fault(
                "F11 tar-whole", f"a damaged or foreign header at byte {at}; nothing after it can be read"
            )
            return
        content = data[at + BLOCK : at + BLOCK + size]
        at += BLOCK + -(-size // BLOCK) * BLOCK
        name = block[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
        if at > len(data):
            facts.fault("F11 tar-whole", "the archive is cut off inside this member", name)
            return
        yield _Member(name=name, kind=block[156:157], content=content, has_prefix=any(block[345:500]))
    if len(data) - at < 2 * BLOCK or any(memoryview(data)[at : at + 2 * BLOCK]):
        facts.fault("F11 tar-whole", "the archive does not end with two zero blocks")
    elif bytes(data[at:]).strip(b"\0"):
        facts.fault("F11 tar-whole", "there are bytes after the end of the archive")


def _member_size(header: bytes) -> int | None:
    checksum = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    if header[257:265] != b"ustar\x0000" or header[148:156].strip(b" \0") != b"%06o" % checksum:
        return None
    return int(header[124:135], 8) if _OCTAL.fullmatch(header[124:136]) else None


def _check_keys(keys: list[str], facts: TarFacts) -> None:
    shard = facts.place.shard
    if len(keys) != shard.samples:
        facts.fault("F17 pairing", f"{len(keys)} samples, but the index says {shard.samples}")
    elif keys_sha256(keys) != shard.keys_sha256:
        facts.fault("F17 pairing", "other keys, or another order, than the index says")


def _check_sample(
    key: str,
    fields: dict[str, memoryview],
    size: tuple[int, int] | None,
    facts: TarFacts,
    *,
    expect_whole: bool,
) -> SampleRecord | None:
    place = facts.place
    image_format = place.index.image.format
    extension = IMAGE_EXTENSIONS[image_format]
    split = place.index.splits.get(place.shard.split)
    wanted = {extension, "json"} | ({"cls"} if split is not None and split.labelled else set())
    if expect_whole and set(fields) != wanted:
        facts.fault("F16 sample-members", f"the fields are {sorted(fields)}, not {sorted(wanted)}", key)
    record = _check_record(key, fields["json"], facts) if "json" in fields else None
    if record is not None:
        _check_label(key, fields.get("cls"), record, facts, labelled="cls" in wanted)
    if extension in fields:
        stated = None if record is None else (record.image.width, record.image.height)
        _check_image(key, fields[extension], [s for s in (size, stated) if s is not None], facts)
    return record


def _check_record(key: str, content: memoryview, facts: TarFacts) -> SampleRecord | None:
    if len(content) > MAX_RECORD_BYTES:
        facts.fault("F16 sample-members", f".json has {len(content)} bytes, over {MAX_RECORD_BYTES}", key)
        return None
    try:
        record = SampleRecord.model_validate_json(bytes(content))
    except ValidationError as error:
        for message in messages(error):
            facts.fault("F18 record-schema", message, key)
        return None
    place = facts.place
    index = place.index
    if record.version[0] != FORMAT_VERSION[0]:
        facts.fault("F18 record-schema", f"version {record.version}", key)
    pairs = {
        "key": (record.key, key),
        "split": (record.split, place.shard.split),
        "magnification": (record.magnification, place.magnification),
        "magnification_by": (record.magnification_by, index.magnification_by),
        "image.format": (record.image.format, index.image.format),
        "image.quality": (record.image.quality, index.image.quality),
    }
    for name, (given, wanted) in pairs.items():
        if given != wanted:
            facts.fault("F19 record-place", f"{name} is {given!r}, but its place says {wanted!r}", key)
    return record


def _check_label(
    key: str, content: memoryview | None, record: SampleRecord, facts: TarFacts, *, labelled: bool
) -> None:
    if not labelled:
        if record.label is not None or record.region.class_name is not None:
            facts.fault("F20 label", "a label or an annotation's class in an unlabelled split", key)
        return
    classes = facts.place.index.classes
    if record.label not in classes:
        facts.fault("F20 label", f"label {record.label!r} is none of the classes {list(classes)}", key)
    elif content is not None and bytes(content[:9]) != str(classes.index(record.label)).encode():
        given, wanted = bytes(content[:9]), classes.index(record.label)
        facts.fault("F20 label", f".cls is {given!r}, but label {record.label!r} is class {wanted}", key)
    if record.region.class_name not in (None, record.label):
        message = f"label is {record.label!r}, but the region's annotation says {record.region.class_name!r}"
        facts.fault("F20 label", message, key)


def _check_image(key: str, content: memoryview, sizes: list[tuple[int, int]], facts: TarFacts) -> None:
    image_format = facts.place.index.image.format
    try:
        mode, size = image_header(content, image_format)
    except ValueError as error:
        facts.fault("F21 image-header", str(error), key)
        return
    if mode != "RGB" or any(size != wanted for wanted in sizes):
        facts.fault("F21 image-header", f"{mode} of {size}; the index and the record say RGB of {sizes}", key)
        # A size that nothing vouches for is not worth the memory that it may take.
        return
    try:
        sums = decode(content, image_format, pixels=size[0] * size[1])
    except ValueError as error:
        facts.fault("F22 image-data", f"the image cannot be decoded whole: {error}", key)
        return
    facts.decoded += 1
    if facts.place.shard.split == STATISTICS_SPLIT:
        facts.sums += sums
