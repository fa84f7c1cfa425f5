"""Damage done to a slide's bytes, by name and seed: what copying, networks and disks do, and what only a test does.

Every kind is a function of a file's intact bytes, of where its coded pixels lie (:class:`Layout`) and of a seeded
generator; it returns other bytes, or None where the file has nothing of the kind (no tiles to swap).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a file's coded pixels lie.

    Attributes:
        spans: (offset, bytes) of each tile, frame or strip of level 0; else of all that follows the header.
        offset_entries: (offset, bytes) of each tile's entry in the directory's list of offsets, in file order.
        count_entries: The same of the list of byte counts.
        directories: (offset, bytes) of what says how to read the pixels: TIFF directories, the first bytes of others.
        order: "little" or "big".
    """

    spans: tuple[tuple[int, int], ...]
    offset_entries: tuple[tuple[int, int], ...] = ()
    count_entries: tuple[tuple[int, int], ...] = ()
    directories: tuple[tuple[int, int], ...]
    order: Any = "little"


def layout_of(path: Path) -> Layout:
    """Find a file's coded pixels: a TIFF's first page, a DICOM file's frames, or everything after the header."""
    data = path.read_bytes()
    if data[:2] in (b"II", b"MM"):
        return _tiff_layout(path, len(data))
    header = min(256, len(data) // 4)
    if data[128:132] == b"DICM":
        frames = tuple(_frames(data))
        return Layout(spans=frames, directories=((128, max(256, frames[0][0] - 128)),))
    return Layout(spans=((header, len(data) - header),), directories=((0, header),))


def _tiff_layout(path: Path, size: int) -> Layout:
    with tifffile.TiffFile(path) as tif:
        page: Any = tif.pages[0]
        entries = [
            _entries(page, *names)
            for names in (("TileOffsets", "StripOffsets"), ("TileByteCounts", "StripByteCounts"))
        ]
        directories = tuple((p.offset, min(2 + 12 * len(p.tags), size - p.offset)) for p in tif.pages)
        return Layout(
            spans=tuple(zip(page.dataoffsets, page.databytecounts, strict=True)),
            offset_entries=entries[0],
            count_entries=entries[1],
            directories=((0, 8), *directories),
            order="little" if tif.byteorder == "<" else "big",
        )


def _entries(page: Any, *names: str) -> tuple[tuple[int, int], ...]:
    tag = next(page.tags[name] for name in names if name in page.tags)
    width = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
    return tuple((tag.valueoffset + i * width, width) for i in range(tag.count))


def _frames(data: bytes) -> list[tuple[int, int]]:
    """(offset, bytes) of each item of the encapsulated pixel data, less the table of offsets."""
    item = b"\xfe\xff\x00\xe0"
    at = data.index(item, data.rindex(b"\xe0\x7f\x10\x00"))
    found = []
    while data[at : at + 4] == item:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((at + 8, length))
        at += 8 + length
    return found[1:]


def _pick(layout: Layout, random: Random) -> tuple[int, int]:
    return layout.spans[int(random.integers(len(layout.spans)))]


def _with(data: bytes, offset: int, new: bytes) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def flip_in_pixels(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """One bit of the coded pixels."""
    offset, count = _pick(layout, random)
    return _flipped(data, offset + int(random.integers(max(1, count))), random)


def flip_anywhere(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """One bit of the file."""
    return _flipped(data, int(random.integers(len(data))), random)


def _flipped(data: bytes, at: int, random: Random) -> bytes:
    return _with(data, at, bytes([data[at] ^ (1 << int(random.integers(8)))]))


def zero_block(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """A block of 32 to 4096 zeros, aligned to its size, as a disk leaves it."""
    size = 2 ** int(random.integers(5, 13))
    at = int(random.integers(max(1, len(data) // size))) * size
    return _with(data, at, bytes(min(size, len(data) - at)))


def zero_half_tile(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """The second half of a tile, as an interrupted copy leaves it."""
    offset, count = _pick(layout, random)
    return _with(data, offset + count // 2, bytes(count - count // 2))


def truncate(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """The file ends early, anywhere."""
    return data[: int(random.integers(1, len(data)))]


def truncate_near_end(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """The last 1 to 64 bytes are missing."""
    return data[: -int(random.integers(1, 65))]


def swap_tiles(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """Two different tiles stand in each other's place, whole: in a TIFF by its directory, in DICOM by their bytes."""
    spans = layout.spans
    pairs = [
        (a, b)
        for a in range(len(spans))
        for b in range(a)
        if _bytes(data, spans[a]) != _bytes(data, spans[b])
    ]
    if not pairs:
        return None
    a, b = pairs[int(random.integers(len(pairs)))]
    if layout.offset_entries:
        return _exchange(_exchange(data, layout.offset_entries, a, b), layout.count_entries, a, b)
    (at_a, size_a), (at_b, size_b) = spans[b], spans[a]  # b lies before a
    frame_a, frame_b = data[at_a - 8 : at_a + size_a], data[at_b - 8 : at_b + size_b]
    return data[: at_a - 8] + frame_b + data[at_a + size_a : at_b - 8] + frame_a + data[at_b + size_b :]


def _exchange(data: bytes, entries: tuple[tuple[int, int], ...], a: int, b: int) -> bytes:
    entry_a, entry_b = _bytes(data, entries[a]), _bytes(data, entries[b])
    return _with(_with(data, entries[a][0], entry_b), entries[b][0], entry_a)


def _bytes(data: bytes, span: tuple[int, int]) -> bytes:
    return data[span[0] : span[0] + span[1]]


def overwrite_tile(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """A tile's place holds the first bytes of another's, as many as fit."""
    if len(layout.spans) < 2:
        return None
    a, b = random.choice(len(layout.spans), 2, replace=False)
    (offset, count), other = layout.spans[a], _bytes(data, layout.spans[b])
    new = other[:count]
    return None if new == data[offset : offset + len(new)] else _with(data, offset, new)


def wrong_entry(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """A tile's offset or byte count is another number."""
    if not layout.offset_entries:
        return None
    entries = layout.offset_entries if random.integers(2) else layout.count_entries
    offset, width = entries[int(random.integers(len(entries)))]
    value = int(random.integers(min(2 * len(data), 2 ** (8 * width))))
    return _with(data, offset, value.to_bytes(width, layout.order))


def damage_header(data: bytes, layout: Layout, random: Random) -> bytes | None:
    """One to eight random bytes where the file says how it is to be read."""
    offset, count = layout.directories[int(random.integers(len(layout.directories)))]
    size = int(random.integers(1, 9))
    at = offset + int(random.integers(max(1, count - size)))
    return _with(data, at, random.bytes(min(size, len(data) - at)))


Damage = Callable[[bytes, Layout, Random], "bytes | None"]
DAMAGES: Mapping[str, Damage] = {
    "bit flip in pixels": flip_in_pixels,
    "bit flip anywhere": flip_anywhere,
    "zeroed block": zero_block,
    "half a tile zeroed": zero_half_tile,
    "truncated": truncate,
    "end missing": truncate_near_end,
    "tiles swapped": swap_tiles,
    "tile over another": overwrite_tile,
    "tile entry wrong": wrong_entry,
    "header damaged": damage_header,
}
MISPLACED = ("tiles swapped", "tile over another", "tile entry wrong")
"""Kinds that put whole, valid tiles where they do not belong: without checksums nothing can tell."""
