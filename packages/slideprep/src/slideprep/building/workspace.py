"""The builder's own files under ``DIR/.slideprep``: what lets a build be killed at any moment and run again.

::

    .slideprep/lock                    held while a build runs on the folder; in an object store, a folder
    .slideprep/build.json              what is built: settings, versions, slides with their fingerprints
    .slideprep/scans/<hash>.json       one scanned slide, under its name's hash
    .slideprep/shards/<shard>.json     one finished shard: checksums, keys, failures, colour sums
    .slideprep/partial/<shard>-<...>/  a shard in the making; removed when the next build starts
    .slideprep/partial/<shard>.now     which slide its task reads

Every file appears whole or not at all. In an object store shards grow in a scratch folder of the machine instead.
Readers of the set ignore the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from slideprep.building.config import BuildConfig
from slideprep.building.identity import growth_hint, identity
from slideprep.building.notes import Note, Notes
from slideprep.building.prepare import Prepared
from slideprep.errors import UsageError
from slideprep.regions.scan import Scan
from slideprep.shards.format import INDEX_NAME, WORKSPACE, slide_hash
from slideprep.shards.records import ShardRecord
from slideprep.storage.access import short_hash
from slideprep.storage.files import output_errors
from slideprep.storage.open import open_store
from slideprep.storage.places import Place
from slideprep.storage.store import Held, Say, Store

_Scans: TypeAdapter[Scan] = TypeAdapter(Scan)

BUILD_PATH = f"{WORKSPACE}/build.json"


def _silent(_message: str) -> None:
    return


class Workspace:
    """Files of one build.

    Args:
        out: The shard set's folder, its address, or the store that is there.
        scratch: Local folder in which shards of an object store grow; None for the system's temporary folder.
        held: The lock that covers the folder, where it is held already.

    Raises:
        UsageError: The client for the address is not installed.
    """

    def __init__(self, out: Place | Store, *, scratch: Path | None = None, held: Held | None = None) -> None:
        self.store: Store = open_store(out, scratch=scratch)
        self.out = self.store.place
        self.scratch = scratch
        self._notes = Notes(self.store)
        self._held = held

    @contextmanager
    def locked(self, say: Say = _silent) -> Iterator[None]:
        """Hold the folder: a second build on it is refused. The lock ends with the process, however it ends.

        Args:
            say: Told what is being waited for; in an object store an earlier lock is watched for two minutes.

        Raises:
            UsageError: Another build holds it, or the folder holds something else.
            OutputError: The folder cannot be made or written to.
        """
        self._refuse_foreign_folder()
        with self.store.locked(say) as held:
            self._held = held
            yield

    def check_held(self) -> None:
        """Raise OutputError where the lock was lost to another build; before anything that must not be done twice."""
        assert self._held is not None, "only under the lock"
        self._held.check()

    def _refuse_foreign_folder(self) -> None:
        try:
            names = self.store.top()
        except NotADirectoryError:
            raise UsageError(f"--out {self.out} is a file; give a folder for the shard set") from None
        except OSError as error:
            raise self._unreadable(error) from error
        if names and WORKSPACE not in names:
            raise UsageError(
                f"--out {self.out} is not empty and holds no shard set that slideprep began; give a new folder, so "
                "that nothing in it is mixed or overwritten"
            )

    def _unreadable(self, error: OSError) -> UsageError:
        return UsageError(
            f"--out {self.out} cannot be read: {error.strerror or error}; check the path or address, your permissions "
            "and the network"
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
        if self.store.stat(BUILD_PATH) is None:
            self.store.write(BUILD_PATH, json.dumps(identity, indent=1, sort_keys=True).encode())
        self.store.remove(INDEX_NAME)  # until the end, the set is unfinished
        self.store.tidy()

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        """Raise UsageError where the folder holds a build of something else; the message names what differs."""
        try:
            begun = json.loads(self.store.read(BUILD_PATH))
        except FileNotFoundError:
            self._refuse_foreign_folder()
            return
        except OSError as error:
            raise self._unreadable(error) from error
        differences = _differences(begun, json.loads(json.dumps(identity)))
        if differences:
            raise UsageError(
                f"{self.out} was begun with other settings or slides, and shards are never mixed:\n  "
                + "\n  ".join(_first(differences))
                + "\n"
                + (growth_hint(begun, identity) or "give the settings it was begun with, or a new --out")
            )

    # Scans

    def load_scan(
        self, name: str, settings: str, *, source: str | None, fingerprint: Callable[[], str]
    ) -> Scan | None:
        """A slide's scan, if it was made of this content with these settings.

        Args:
            name: The slide's.
            settings: Digest of the settings.
            source: The store's marks of the slide's content; None where it has none.
            fingerprint: Gives the content's fingerprint; asked only where the marks do not tell.
        """
        try:
            kept = json.loads(self.store.read(scan_path(name)))
            if kept["settings"] != settings:
                return None
            if (source is None or kept.get("source") != source) and kept["fingerprint"] != fingerprint():
                return None
            return _Scans.validate_json(json.dumps(kept["scan"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def kept_scan(self, name: str) -> Scan:
        """A slide's scan, whatever it was made of.

        Raises:
            OSError: None is kept.
            ValueError: It is damaged.
        """
        kept = json.loads(self.store.read(scan_path(name)))
        return _Scans.validate_json(json.dumps(kept["scan"]))

    def save_scan(self, scan: Scan, settings: str, *, source: str | None) -> None:
        """Keep a slide's scan."""
        kept = {
            "fingerprint": scan.fingerprint,
            "source": source,
            "settings": settings,
            "scan": json.loads(_Scans.dump_json(scan)),
        }
        self.store.write(scan_path(scan.name), json.dumps(kept).encode())

    # Shards

    def save_record(self, shard: str, record: ShardRecord) -> None:
        """Keep a finished shard's record; its tars must be in place."""
        self.store.write(record_path(shard), record.model_dump_json().encode())
        self._notes.forget(shard)

    def finished_record(self, shard: str, digest: str) -> ShardRecord | None:
        """A shard's record, if it is of this plan, complete, and its tars are there and are those that were written.

        A shard with failures is tried again: the cause may have been a network or a disk.
        """
        with output_errors(self.out):
            try:
                record = ShardRecord.model_validate_json(self.store.read(record_path(shard)))
            except (FileNotFoundError, ValidationError):
                return None
        if record.digest != digest or record.failures:
            return None
        intact = all(
            self.store.unchanged(file.path, size=file.bytes, sha256=file.sha256, tag=record.tags.get(name))
            for name, file in record.files.items()
        )
        return record if intact else None

    def remove_unplanned(self, planned: frozenset[str], magnifications: tuple[str, ...]) -> None:
        """Remove shards of an unfinished build that its plan no longer has (a slide failed that did not before)."""
        for folder, suffix in (
            *((name, ".tar") for name in magnifications),
            (f"{WORKSPACE}/shards", ".json"),
        ):
            for path in self.store.list(folder):
                name = path.removeprefix(f"{folder}/")
                if name.endswith(suffix) and name.removesuffix(suffix) not in planned:
                    self.store.remove(path)

    # Progress

    def partial_folder(self, shard: str) -> Path:
        """Where a shard grows, made anew; of this process alone."""
        scratch = self.store.scratch()
        # machines that share the folder may give two processes the same number
        here = f"{shard}-{short_hash(socket.gethostname())}"
        for left_by_a_crash in scratch.glob(f"{here}-*"):
            shutil.rmtree(left_by_a_crash, ignore_errors=True)
        folder = scratch / f"{here}-{os.getpid()}"
        with output_errors(folder):
            folder.mkdir()
        return folder

    def note_progress(self, shard: str, slide: str, done_px: int, samples: int) -> None:
        """Leave word of what is being read: for the progress bar, and for finding out what crashed a worker."""
        self._notes.leave(shard, (slide, done_px, samples))

    def progress(self, shard: str, *, fresh: bool = False) -> Note | None:
        """(slide being read, level-0 pixels read, samples written) of a shard in the making.

        Args:
            shard: Its name.
            fresh: Whether a note from an object store that was read up to 15 seconds ago will not do.
        """
        return self._notes.read(shard, fresh=fresh)


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


def refuse_other_build(config: BuildConfig, prepared: Prepared) -> None:
    """Raise UsageError where ``config.out`` holds a build of other settings or slides."""
    Workspace(config.out, scratch=config.scratch).refuse_other(identity(config, prepared))


def scan_path(slide: str) -> str:
    """Where the scan of a slide lies."""
    return f"{WORKSPACE}/scans/{slide_hash(slide)}.json"


def record_path(shard: str) -> str:
    """Where the record of a shard lies."""
    return f"{WORKSPACE}/shards/{shard}.json"
