"""The builder's own files under ``DIR/.slideprep``: what lets a build be killed at any moment and run again.

::

    .slideprep/lock                    held while a build runs on the folder
    .slideprep/build.json              what is built: settings, versions, slides with their fingerprints
    .slideprep/scans/<hash>.json       one scanned slide, under its name's hash
    .slideprep/shards/<shard>.json     one finished shard: checksums, keys, failures, colour sums
    .slideprep/partial/<shard>-<pid>/  a shard in the making; removed when the next build starts

Every file is written to a temporary name, synced and renamed. Readers of the set ignore the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slideprep.errors import UsageError
from slideprep.files import output_errors, write_atomically
from slideprep.records import ShardRecord
from slideprep.scan import Scan
from slideprep.shard_format import INDEX_NAME, ShardFile, slide_hash

WORKSPACE = ".slideprep"

_Scans: TypeAdapter[Scan] = TypeAdapter(Scan)


class Workspace:
    """Files of one build.

    Args:
        out: The shard set's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out / WORKSPACE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder: a second build on it is refused. The lock ends with the process, however it ends.

        Raises:
            UsageError: Another build holds it, or the folder holds something else.
            OutputError: The folder cannot be made or written to.
        """
        self._refuse_foreign_folder()
        with output_errors(self.out):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "lock").open("a+")
        with lock as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another build is writing to {self.out}; wait for it to end, or give another --out"
                ) from None
            yield

    def _refuse_foreign_folder(self) -> None:
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out {self.out} is a file; give a folder for the shard set")
        foreign = self.out.is_dir() and any(self.out.iterdir()) and not self.root.is_dir()
        if foreign:
            raise UsageError(
                f"--out {self.out} is not empty and holds no shard set that slideprep began; give a new folder, so "
                "that nothing in it is mixed or overwritten"
            )

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Start a build, or go on with the same one.

        Args:
            identity: Everything that decides the set's bytes, JSON-able.

        Raises:
            UsageError: The folder holds a build of something else; the message names what differs.
            OutputError: The folder cannot be written to.
        """
        self.refuse_other(identity)
        path = self.root / "build.json"
        if not path.exists():
            write_atomically(path, json.dumps(identity, indent=1, sort_keys=True).encode())
        with output_errors(self.out):
            (self.out / INDEX_NAME).unlink(missing_ok=True)  # until the end, the set is unfinished
            for left_by_a_kill in (*self.out.glob("*.partial"), *self.root.glob("*/*.partial")):
                left_by_a_kill.unlink(missing_ok=True)
        shutil.rmtree(self.root / "partial", ignore_errors=True)

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        """Raise UsageError where the folder holds a build of something else; the message names what differs."""
        path = self.root / "build.json"
        if not path.exists():
            self._refuse_foreign_folder()
            return
        differences = _differences(
            json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(identity))
        )
        if differences:
            raise UsageError(
                f"{self.out} was begun with other settings or slides, and shards are never mixed:\n  "
                + "\n  ".join(_first(differences))
                + "\ngive the settings it was begun with, or a new --out"
            )

    # Scans

    def scan_path(self, name: str) -> Path:
        """Where a slide's scan is kept."""
        return self.root / "scans" / f"{slide_hash(name)}.json"

    def load_scan(self, name: str, fingerprint: str, settings: str) -> Scan | None:
        """A slide's scan, if it was made of this content with these settings."""
        try:
            kept = json.loads(self.scan_path(name).read_bytes())
            if (kept["fingerprint"], kept["settings"]) != (fingerprint, settings):
                return None
            return _Scans.validate_json(json.dumps(kept["scan"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_scan(self, scan: Scan, settings: str) -> None:
        """Keep a slide's scan."""
        kept = {
            "fingerprint": scan.fingerprint,
            "settings": settings,
            "scan": json.loads(_Scans.dump_json(scan)),
        }
        write_atomically(self.scan_path(scan.name), json.dumps(kept).encode())

    # Shards

    def record_path(self, shard: str) -> Path:
        """Where a finished shard's record is kept."""
        return self.root / "shards" / f"{shard}.json"

    def save_record(self, shard: str, record: ShardRecord) -> None:
        """Keep a finished shard's record; its tars must be in place."""
        write_atomically(self.record_path(shard), record.model_dump_json().encode())

    def finished_record(self, shard: str, digest: str) -> ShardRecord | None:
        """A shard's record, if it is of this plan, complete, and its tars are there and have the right checksums.

        A shard with failures is tried again: the cause may have been a network or a disk.
        """
        try:
            record = ShardRecord.model_validate_json(self.record_path(shard).read_bytes())
        except (OSError, ValidationError):
            return None
        if (
            record.digest != digest
            or record.failures
            or not all(self._verifies(file) for file in record.files.values())
        ):
            return None
        return record

    def _verifies(self, file: ShardFile) -> bool:
        path = self.out / file.path
        try:
            if path.stat().st_size != file.bytes:
                return False
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        except OSError:
            return False

    def remove_unplanned(self, planned: frozenset[str], magnifications: tuple[str, ...]) -> None:
        """Remove shards of an unfinished build that its plan no longer has (a slide failed that did not before)."""
        for folder in (self.out / name for name in magnifications):
            for tar in folder.glob("*.tar"):
                if tar.stem not in planned:
                    tar.unlink()
        for record in (self.root / "shards").glob("*.json"):
            if record.stem not in planned:
                record.unlink()

    # Progress

    def partial_folder(self, shard: str) -> Path:
        """Where a shard grows; of this process alone."""
        return self.root / "partial" / f"{shard}-{os.getpid()}"

    def note_progress(self, shard: str, slide: str, done_px: int, samples: int) -> None:
        """Leave word of what is being read: for the progress bar, and for finding out what crashed a worker."""
        path = self.root / "partial" / f"{shard}.now"
        path.write_text(json.dumps([slide, done_px, samples]), encoding="utf-8")

    def progress(self, shard: str) -> tuple[str, int, int] | None:
        """(slide being read, level-0 pixels read, samples written) of a shard in the making."""
        try:
            slide, done_px, samples = json.loads(
                (self.root / "partial" / f"{shard}.now").read_text(encoding="utf-8")
            )
        except (OSError, ValueError):
            return None
        return str(slide), int(done_px), int(samples)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line per setting that differs."""
    lines = []
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += _differences(before, after, f"{name}.")
        elif before != after:
            lines.append(f"{name}: {_shown(before)} there, {_shown(after)} now")
    return lines


def _first(lines: list[str], count: int = 12) -> list[str]:
    return lines[:count] + ([f"and {len(lines) - count} more"] if len(lines) > count else [])


def _shown(value: Any) -> str:
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)[:80]
