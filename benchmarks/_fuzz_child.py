"""Reads slides as a build does, one per line of standard input, and answers each with one line: a scan, then a shard.

A process of its own, because what is read is damaged: it may crash or hang, and its parent counts that. Memory is
limited, so that a header that asks for too much is an error here and not the machine's.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import sys
import tarfile
import tempfile
import traceback
from pathlib import Path
from typing import Any

from _variants import settings

MEMORY_BYTES = 6 * 1024**3
MAGNIFICATIONS = (10.0, 5.0)


def read(path: Path, out: Path) -> dict[str, Any]:
    """Build a slide's only shard.

    Returns:
        ``{"outcome": "listed", "reason": ...}``, or ``{"outcome": "read", "reader": ..., "pixels": ...}`` where
        ``pixels`` is a digest of the scale and of every image.
    """
    from slideprep.errors import UsageError
    from slideprep.regions.scan import ScanFailure, scan_slide
    from slideprep.regions.settings import ScanJob
    from slideprep.slides.discover import find_slides

    try:
        files, rejected = find_slides([path])
    except UsageError as error:  # a folder in which nothing is a slide any more
        return {"outcome": "listed", "reason": str(error)}
    if rejected:  # a file of a series, maybe: a build lists it, whatever becomes of the others
        return {"outcome": "listed", "reason": rejected[0].reason}
    scan = scan_slide(ScanJob(file=files[0], shown_name=files[0].name, settings=_settings()))
    if isinstance(scan, ScanFailure):
        return {"outcome": "listed", "reason": scan.reason}
    left_out = [region.left_out for region in scan.regions if region.left_out]
    if left_out:
        return {"outcome": "listed", "reason": left_out[0]}
    return _shard(files[0], scan, out)


def _shard(file: Any, scan: Any, out: Path) -> dict[str, Any]:
    from slideprep.building.plan import Sample, Shard
    from slideprep.building.tasks.job import ShardJob, SourceSlide
    from slideprep.building.tasks.shard import write_shard
    from slideprep.shards.format import key_for

    samples = tuple(
        Sample(
            key=key_for(file.name, region.index),
            slide=file.name,
            index=region.index,
            layout=region.layout,
            source="whole",
            label=None,
        )
        for region in scan.regions
    )
    source = SourceSlide(
        file=file, name=file.name, patient="p", scale=scan.scale, fingerprint=scan.fingerprint
    )
    record = write_shard(
        ShardJob(
            out=out,
            shard=Shard(split="train", number=0, samples=samples),
            slides={file.name: source},
            magnifications=MAGNIFICATIONS,
            image_format="png",
            quality=None,
            classes=(),
            with_sums=False,
            crashed={},
        )
    )
    if record.failures:
        return {"outcome": "listed", "reason": record.failures[0].reason}
    digest = hashlib.sha256(repr(scan.scale).encode())
    for tar in sorted(out.rglob("*.tar")):
        with tarfile.open(tar) as members:
            for member in members:
                if member.name.endswith(".png"):
                    digest.update(members.extractfile(member).read())  # type: ignore[union-attr]
    return {"outcome": "read", "reader": scan.reader, "pixels": digest.hexdigest()}


def _settings() -> Any:
    """Whole slides, in a format that keeps every pixel."""
    return settings(magnifications=MAGNIFICATIONS, tissue="whole", image_format="png")


def main() -> None:
    """Answer every line until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # as in a build's workers
    for line in sys.stdin:
        out = Path(tempfile.mkdtemp(prefix="out-", dir=Path(line.strip()).parent))
        try:
            answer = read(Path(line.strip()), out)
        except Exception:  # noqa: BLE001 - whatever it is, it is counted
            answer = {"outcome": "exception", "reason": traceback.format_exc()}
        shutil.rmtree(out, ignore_errors=True)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
