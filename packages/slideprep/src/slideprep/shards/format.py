"""The writer's half of the shard contract (shards/SHARD_FORMAT.md): names, numbers and bytes.

In: what the builder knows about a region and a set. Out: keys, paths, and the exact bytes of a sample's JSON
and of index.json. Nothing here opens a tar or an image, and nothing is shared with the reader in kdtrain: the
document and the golden set under shards/ are what keep the two halves together.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor, sqrt
from typing import Any, Final

from pydantic import BaseModel

from slideprep.shards.models import (
    Change,
    Counts,
    CreatedBy,
    ImageEncoding,
    ImageFormat,
    ImageRecord,
    Index,
    Level0,
    PixelBox,
    Region,
    SampleRecord,
    ShardEntry,
    ShardFile,
    SplitEntry,
    Statistics,
    StatisticsOf,
)

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "IMAGE_EXTENSIONS",
    "INDEX_NAME",
    "MAX_KEY_LENGTH",
    "MAX_MEMBER_BYTES",
    "MAX_RECORD_BYTES",
    "RECORD_VERSION",
    "TAR_MODE",
    "TAR_OWNER",
    "Change",
    "Counts",
    "CreatedBy",
    "ImageEncoding",
    "ImageFormat",
    "ImageRecord",
    "Index",
    "Level0",
    "PixelBox",
    "Region",
    "SampleRecord",
    "ShardEntry",
    "ShardFile",
    "SplitEntry",
    "Statistics",
    "StatisticsOf",
    "dump_index",
    "dump_json",
    "key_for",
    "keys_sha256",
    "magnification_name",
    "member_info",
    "shard_name",
    "shard_path",
    "slide_hash",
    "slide_key",
    "statistics_from_sums",
    "valid_box",
]

FORMAT_NAME: Final = "slideprep-shards"
FORMAT_VERSION = (1, 2)
"""(major, minor): SHARD_FORMAT.md, "Versions", says what changes which."""
RECORD_VERSION = (1, 1)
"""What a sample's record says: the version that last changed a tar. 1.2 changed the index alone, so every tar keeps its
bytes and its checksum, and what was made from it (a teacher cache) goes on with a set that is built anew."""

INDEX_NAME = "index.json"
IMAGE_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
"""Member extension of each image format."""

MAX_KEY_LENGTH = 90
"""A USTAR name holds 100 bytes, and the longest extension takes 5."""
MAX_SLUG_LENGTH = 60
MAX_MEMBER_BYTES = 8 * 2**30 - 1
"""11 octal digits of a USTAR size; beyond it tar programs write extended headers, which readers refuse."""
MAX_RECORD_BYTES = 64 * 1024
"""A sample's JSON is about 1 KB; a reader need not take in more than this."""
TAR_OWNER = "slideprep"
TAR_MODE = 0o444

MAX_SIDE_PX = 65_500
"""Longest side that libjpeg accepts; the format itself ends at 65 535."""

MAX_SIDES_PX: dict[ImageFormat, int] = {"jpeg": MAX_SIDE_PX, "png": 2**31 - 1, "webp": 16_383}
"""Longest side of each format, in pixels."""

WORKSPACE = ".slideprep"

SIDECARS = ("preview.html", "failures.csv", "left_out.csv", "regions.csv", "slides.csv", "splits.csv")
CROISSANT = "croissant.json"
SAMPLES = "samples.json"
DESCRIPTION = (CROISSANT, SAMPLES)
"""Further sidecars, of sets that were described for catalogues."""


def magnification_name(magnification: float) -> str:
    """Folder and index name of a magnification: ``10x``, ``2.5x``, ``0.625x``."""
    return f"{magnification:g}x"


def shard_path(magnification: float, split: str, number: int) -> str:
    """Path of a tar relative to index.json: ``10x/train-000000.tar``."""
    return f"{magnification_name(magnification)}/{shard_name(split, number)}.tar"


def shard_name(split: str, number: int) -> str:
    """How messages and records call a shard: ``train-000000``."""
    return f"{split}-{number:06d}"


def slide_hash(slide_name: str) -> str:
    """First 8 hex digits of the SHA-256 of the name in NFC and UTF-8 (file systems differ in the form)."""
    return hashlib.sha256(unicodedata.normalize("NFC", slide_name).encode()).hexdigest()[:8]


def key_for(slide_name: str, region_index: int) -> str:
    """Key of a region: ``<slug>-<hash>-r<index>``, such as ``cmu-1-small-region-1f0d9c2a-r0000``.

    The slug (the name without its extension, in ASCII) is for people; the hash makes the key unique, since
    different names can have one slug. Dots never enter a key: WebDataset cuts it at the first one.

    Args:
        slide_name: File name of the slide, or its pseudonym.
        region_index: Number of the region on its slide, from 0.
    """
    return f"{slide_key(slide_name)}-r{region_index:04d}"


def slide_key(slide_name: str) -> str:
    """What the keys of a slide's regions begin with, and a name for files about the slide: ``<slug>-<hash>``.

    Args:
        slide_name: File name of the slide, or its pseudonym.
    """
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", slide_name)
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_]+", "-", ascii_stem)[:MAX_SLUG_LENGTH].strip("-") or "slide"
    return f"{slug}-{slide_hash(slide_name)}"


def keys_sha256(keys: Iterable[str]) -> str:
    """The index's digest of a shard's keys in order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def valid_box(
    *,
    x: int,
    y: int,
    width: int,
    height: int,
    factor: Fraction | float,
    level0_width: int,
    level0_height: int,
) -> PixelBox:
    """The pixels of an image that lie wholly on the slide.

    Args:
        x: Left edge of the region, level-0 pixels.
        y: Top edge of the region, level-0 pixels.
        width: Image width in its own pixels.
        height: Image height in its own pixels.
        factor: Level-0 pixels per image pixel.
        level0_width: Slide width, level-0 pixels.
        level0_height: Slide height, level-0 pixels.
    """
    left, right = _valid_span(x, width, factor, level0_width)
    top, bottom = _valid_span(y, height, factor, level0_height)
    return PixelBox(x=left, y=top, width=right - left, height=bottom - top)


def _valid_span(start: int, pixels: int, factor: Fraction | float, limit: int) -> tuple[int, int]:
    ratio = Fraction(factor)
    # A factor stored as a float can miss a whole pixel by 1e-13; a millionth of a pixel is no padding.
    slack = Fraction(1, 1_000_000)
    first = max(0, ceil(Fraction(-start) / ratio - slack))
    last = min(pixels, floor(Fraction(limit - start) / ratio + slack))
    return first, last


def statistics_from_sums(*, pixels: int, sums: Iterable[int], squares: Iterable[int]) -> Statistics:
    """Mean and population standard deviation from integer sums, so that no order of addition changes a bit.

    Args:
        pixels: Number of pixels.
        sums: Sum of the grey levels, per channel.
        squares: Sum of the squared grey levels, per channel.
    """
    pairs = [(int(s), int(q)) for s, q in zip(sums, squares, strict=True)]
    assert len(pairs) == 3, "three channels"
    (r, g, b) = (s / pixels for s, _ in pairs)
    (rs, gs, bs) = (sqrt(pixels * q - s * s) / pixels for s, q in pairs)
    return Statistics(pixels=pixels, mean=(r, g, b), std=(rs, gs, bs))


def dump_json(model: BaseModel) -> bytes:
    """Bytes of a sample's JSON: UTF-8, sorted keys, no spaces, whole numbers without a point."""
    return json.dumps(_plain(model), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def dump_index(index: Index) -> bytes:
    """Bytes of index.json: as dump_json, but indented, lists of numbers on one line, newline at the end."""
    text = json.dumps(_plain(index), sort_keys=True, indent=2, ensure_ascii=False)
    # JSON strings hold no raw newline, so this never touches one.
    text = re.sub(r"\[\n[-+.\d\seE,]+\]", lambda match: f"[{' '.join(match[0][1:-1].split())}]", text)
    return (text + "\n").encode()


def _plain(model: BaseModel) -> Any:
    return _whole_numbers(model.model_dump(mode="json", by_alias=True))


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def member_info(name: str, size: int) -> tarfile.TarInfo:
    """Header of a tar member, as webdataset's TarWriter writes it with TAR_OWNER, TAR_MODE and mtime 0.

    It serves members that are streamed from a file, which TarWriter takes only as bytes.

    Args:
        name: ``<key>.<extension>``.
        size: Bytes of the member.
    """
    assert size <= MAX_MEMBER_BYTES, f"{name} ({size} bytes) does not fit a USTAR header"
    assert len(name) <= 100, f"{name} does not fit a USTAR header"
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, 0, TAR_MODE
    info.uname = info.gname = TAR_OWNER
    return info
