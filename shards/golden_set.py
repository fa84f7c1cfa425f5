"""How a valid set is built from SHARD_FORMAT.md alone, and the golden one. Run make_golden.py to write it.

A Draft is a set before it is sealed; its edits are the places where invalid_sets.py breaks one thing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np
from PIL import Image

Files = dict[str, bytes]
Json = dict[str, Any]

CLASSES = ["gland", "stroma"]
COLOURS = {"gland": (202, 148, 190), "stroma": (226, 170, 186), None: (214, 160, 200)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One region: which slide it is on, where, and how many grid cells it covers."""

    slide: str
    patient: str
    label: str | None
    cells: tuple[int, int]
    region: int = 0
    x: int = 96
    y: int = 64
    level0: tuple[int, int] = (4000, 3000)
    objective: float = 20
    mpp: float | None = 0.499


@dataclass(frozen=True, kw_only=True)
class Member:
    """A tar member; kind is the USTAR type flag."""

    name: str
    data: bytes
    kind: bytes = tarfile.REGTYPE


@dataclass(kw_only=True)
class Draft:
    """A set before it is sealed: edit records, members or the index, then seal it into files."""

    magnifications: list[float]
    grid: dict[str, int]
    quality: int
    shards: list[tuple[str, int, list[Case]]]
    sets: dict[str, list[str]]
    slack: bool
    version: list[int] = field(default_factory=lambda: [1, 2])
    """Of the index; a record has the version that last changed a tar."""
    statistics_of: str = "unencoded"
    """The pixels that the statistics are of; before 1.2 they were "decoded", and the index did not say so."""
    counted: list[int] | None = None
    """Numbers of the shards of train that the statistics count; None for all of them."""
    changes: list[Json] = field(default_factory=list)
    edit_record: Callable[[Json], None] = lambda record: None
    edit_members: Callable[[str, list[Member]], list[Member]] = lambda path, members: members
    edit_index: Callable[[Json], None] = lambda index: None
    edit_files: Callable[[Files], None] = lambda files: None
    edit_tar: Callable[[bytes], bytes] = lambda tar: tar
    sums: dict[str, list[np.ndarray]] = field(default_factory=dict)


def golden(**changes: Any) -> Files:
    """Files of the golden set, by path; ``changes`` are fields of its draft."""
    shards = [
        ("train", 0, [
            Case(slide="case 1.2.svs", patient="P1", label="gland", cells=(32, 40)),
            Case(slide="case 1.2.svs", patient="P1", label="gland", cells=(48, 32), region=1, x=1200, y=800),
        ]),
        ("train", 1, [
            Case(slide="Case-2.ndpi", patient="P2", label="stroma", cells=(32, 32), objective=40, mpp=0.25),
        ]),
        ("val", 0, [Case(slide="case3.svs", patient="P3", label="gland", cells=(32, 33), mpp=None)]),
        ("test", 0, [
            Case(slide="case4.svs", patient="P4", label="stroma", cells=(34, 32)),
            Case(slide="case5.svs", patient="P5", label="gland", cells=(32, 32), x=-9, level0=(247, 3000)),
        ]),
        ("aux1", 0, [Case(slide="aux-6.svs", patient="P6", label=None, cells=(32, 32))]),
        ("aux2_added", 0, [Case(slide="Fall ü 7.svs", patient="P7", label=None, cells=(40, 32))]),
    ]  # fmt: skip
    names = ["train", "val", "test", "aux1", "aux2_added"]
    sets = {name: [name] for name in names} | {"aux2": ["aux1", "aux2_added"]}
    grid = {"10x": 4, "5x": 2, "2.5x": 1}
    return seal(
        Draft(
            magnifications=[10, 5, 2.5],
            grid=grid,
            quality=90,
            shards=shards,
            sets=sets,
            slack=True,
            counted=[0],
            changes=[grown_by("train-000001")],
            **changes,
        )
    )


def golden_1_1() -> Files:
    """Files of the golden set as version 1.1 had it: the same tars, and statistics of the images as they decode."""
    return golden(version=[1, 1], statistics_of="decoded")


def grown_by(shard: str) -> Json:
    """The entry of the index for a slide that was added after the build."""
    created_by = {"slideprep": "0", "libraries": {}}
    return {"operation": "add-slides", "slides": 1, "shards": [shard], "created_by": created_by}


def seal(draft: Draft) -> Files:
    """Encode a draft: the tars, then the index that describes them as they are."""
    files: Files = {}
    entries = []
    for split, number, cases in draft.shards:
        entry: Json = {"split": split, "number": number, "samples": len(cases), "files": {}}
        entry["keys_sha256"] = sha256("\n".join(key_of(case) for case in cases).encode())
        entry["cells"] = [list(case.cells) for case in cases]
        for magnification in draft.magnifications:
            path = f"{magnification:g}x/{split}-{number:06d}.tar"
            counts = split == "train" and (draft.counted is None or number in draft.counted)
            members = [
                m for case in cases for m in members_of(draft, case, split, magnification, counts=counts)
            ]
            files[path] = draft.edit_tar(tar_bytes(draft.edit_members(path, members), slack=draft.slack))
            entry["files"][f"{magnification:g}x"] = {
                "path": path,
                "bytes": len(files[path]),
                "sha256": sha256(files[path]),
            }
        entries.append(entry)
    index = index_of(draft, sorted(entries, key=lambda entry: (entry["split"], entry["number"])))
    draft.edit_index(index)
    files["index.json"] = index_bytes(index)
    draft.edit_files(files)
    return files


def index_of(draft: Draft, entries: list[Json]) -> Json:
    """The index of a draft whose tars are encoded."""
    everything = [case for _, _, cases in draft.shards for case in cases]
    index = {
        "format": "slideprep-shards",
        "version": draft.version,
        "created_by": {"slideprep": "0", "libraries": {}},
        "config": {"seed": 0},
        "synthetic": True,
        "magnification_by": "objective",
        "magnifications": draft.magnifications,
        "grid": draft.grid,
        "image": {"format": "jpeg", "quality": draft.quality},
        "classes": CLASSES,
        "splits": {split: split_of(draft, split) for split in {split for split, _, _ in draft.shards}},
        "sets": draft.sets,
        "shards": entries,
        "statistics": {name: statistics(sums) for name, sums in draft.sums.items()},
        "statistics_shards": draft.counted,
        "changes": draft.changes,
        "counts": {
            "slides": len({case.slide for case in everything}),
            "slides_failed": 0,
            "regions": len(everything),
            "regions_left_out": 0,
            "patients": len({case.patient for case in everything}),
        },
    }
    if draft.version >= [1, 2]:
        index["statistics_of"] = draft.statistics_of if draft.sums else None
    return index


def split_of(draft: Draft, split: str) -> Json:
    """The index's entry of one split."""
    cases = [case for name, _, cases in draft.shards for case in cases if name == split]
    labelled = all(case.label is not None for case in cases)
    return {
        "labelled": labelled,
        "shards": sum(name == split for name, _, _ in draft.shards),
        "samples": len(cases),
        "slides": len({case.slide for case in cases}),
        "patients": len({case.patient for case in cases}),
        "per_class": {c: sum(case.label == c for case in cases) for c in CLASSES} if labelled else None,
    }


def members_of(draft: Draft, case: Case, split: str, magnification: float, *, counts: bool) -> list[Member]:
    """Members of one sample at one magnification, in order; adds pixels that count to the sums."""
    name = f"{magnification:g}x"
    cell_px = draft.grid[name]
    picture = picture_of(case, cell_px)
    jpeg = jpeg_of(picture, draft.quality)
    if counts:
        counted = picture if draft.statistics_of == "unencoded" else Image.open(io.BytesIO(jpeg))
        pixels = np.asarray(counted, dtype=np.int64).reshape(-1, 3)
        sums = [np.array([len(pixels)]), pixels.sum(axis=0), (pixels**2).sum(axis=0)]
        draft.sums[name] = [a + b for a, b in zip(draft.sums.get(name, [0, 0, 0]), sums, strict=True)]
    record = record_of(case, split, magnification, cell_px, draft.quality)
    draft.edit_record(record)
    key = key_of(case)
    members = [Member(name=f"{key}.jpg", data=jpeg), Member(name=f"{key}.json", data=compact(record))]
    if case.label is not None:
        members.insert(0, Member(name=f"{key}.cls", data=str(CLASSES.index(case.label)).encode()))
    return members


def record_of(case: Case, split: str, magnification: float, cell_px: int, quality: int) -> Json:
    """A sample's JSON."""
    width, height = (cells * cell_px for cells in case.cells)
    factor = case.objective / magnification
    left, right = span(case.x, width, factor, case.level0[0])
    top, bottom = span(case.y, height, factor, case.level0[1])
    return {
        "version": [1, 1],
        "key": key_of(case),
        "slide": case.slide,
        "patient": case.patient,
        "label": case.label,
        "split": split,
        "region": {
            "index": case.region,
            "x": case.x,
            "y": case.y,
            "width": plain(width * factor),
            "height": plain(height * factor),
            "source": "auto",
            "class": None,
            "name": None,
            "masked_outside": False,
        },
        "image": {
            "width": width,
            "height": height,
            "format": "jpeg",
            "quality": quality,
            "valid": {"x": left, "y": top, "width": right - left, "height": bottom - top},
        },
        "magnification": magnification,
        "magnification_by": "objective",
        "factor": plain(factor),
        "mpp": None if case.mpp is None else plain(case.mpp * factor),
        "level0": {
            "width": case.level0[0],
            "height": case.level0[1],
            "mpp": case.mpp,
            "mpp_source": None if case.mpp is None else "slide",
            "objective": case.objective,
            "objective_source": "slide",
        },
        "reader": "none: coloured squares",
    }


def span(start: int, pixels: int, factor: float, limit: int) -> tuple[int, int]:
    """First and past-the-last pixel that lie wholly on the slide; exact, since every factor here is whole."""
    return max(0, -(start // int(factor))), min(pixels, (limit - start) // int(factor))


def key_of(case: Case) -> str:
    """<slug>-<hash>-r<region>: the slug is free, the hash is that of the slide's name."""
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", case.slide)
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    digest = sha256(unicodedata.normalize("NFC", case.slide).encode())[:8]
    return f"{re.sub(r'[^a-z0-9_]+', '-', ascii_stem)}-{digest}-r{case.region:04d}"


def picture_of(case: Case, cell_px: int) -> np.ndarray:
    """Coloured squares of 4 × 4 cells, (rows, columns, 3) uint8; every magnification shows the same squares."""
    columns, rows = case.cells
    random = np.random.default_rng(int(sha256(key_of(case).encode())[:8], 16))
    squares = np.array(COLOURS[case.label]) + random.integers(-30, 30, (-(-rows // 4), -(-columns // 4), 1))
    large = squares.repeat(4 * cell_px, axis=0).repeat(4 * cell_px, axis=1)
    return large[: rows * cell_px, : columns * cell_px].astype(np.uint8)


def jpeg_of(picture: np.ndarray, quality: int) -> bytes:
    """A picture as a 4:4:4 JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def statistics(sums: list[np.ndarray]) -> Json:
    """Mean and population standard deviation from integer sums."""
    pixels = int(sums[0][0])
    totals, squares = ([int(value) for value in part] for part in sums[1:])
    return {
        "pixels": pixels,
        "mean": [plain(s / pixels) for s in totals],
        "std": [plain(sqrt(pixels * q - s * s) / pixels) for s, q in zip(totals, squares, strict=True)],
    }


def tar_bytes(members: list[Member], *, slack: bool) -> bytes:
    """A USTAR archive; without slack it ends right after the two zero blocks, not at a multiple of 10 240."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.size, info.mtime, info.mode, info.type = len(member.data), 0, 0o444, member.kind
            info.uname = info.gname = "slideprep"
            if member.kind == tarfile.SYMTYPE:
                info.linkname, info.size = member.data.decode(), 0
            tar.addfile(info, io.BytesIO(member.data))
        end = tar.offset
    return buffer.getvalue() if slack else buffer.getvalue()[: end + 1024]


def compact(value: Json) -> bytes:
    """UTF-8, sorted keys, no spaces, no newline at the end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def index_bytes(index: Json) -> bytes:
    """Indented, sorted keys, lists of numbers on one line, newline at the end."""
    text = json.dumps(index, sort_keys=True, indent=2, ensure_ascii=False)
    return (
        re.sub(r"\[\n[-+.\d\seE,]+\]", lambda m: f"[{' '.join(m[0][1:-1].split())}]", text).encode() + b"\n"
    )


def plain(value: float) -> float:
    """Whole numbers are written without a point."""
    return int(value) if value == int(value) else value


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()
