"""A cache's folder as it is made: what was asked for, which tars are done, and cache.json at the end.

::

    CACHE/cache.json               written last
    CACHE/train-000000.tar         one for each shard of the set
    CACHE/.kdtrain/settings.json   what the cache is made of; written first
    CACHE/.kdtrain/train-000000.json   the tar's entry in cache.json; written when the tar is there
    CACHE/.kdtrain/lock            held while a command writes

A kill at any moment leaves tars that are done and at most one ``.partial`` of each process. Only the first rank calls
what is here, but for :meth:`CacheFolder.record`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdtrain.data.teacher_cache.binding import is_current
from kdtrain.data.teacher_cache.document import (
    CACHE_FILE,
    FORMAT_NAME,
    CacheSettings,
    ShardEntry,
    shard_name,
    to_json,
)
from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, remove_partials, sha256_of, write_atomically
from kdtrain.locks import held
from kdtrain.shards.index import Index
from kdtrain.shards.models import Shard
from kdtrain.training.run_folder import differences, versions

WORKSPACE = ".kdtrain"
SETTINGS_FILE = "settings.json"


class CacheFolder:
    """The folder of ``--out``.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._workspace = path / WORKSPACE

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Hold the folder while the block runs.

        Raises:
            UsageError: Another command writes there.
        """
        with held(self._workspace / "lock", "kdtrain cache-teacher", self.path):
            yield

    def check_free(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            UsageError: It does.
        """
        if not self.path.exists() or (self._workspace / SETTINGS_FILE).is_file():
            return
        if not self.path.is_dir() or any(p.name != WORKSPACE for p in self.path.iterdir()):
            raise UsageError(f"--out {self.path} is not empty and holds no teacher cache; give a new folder")

    def begin(self, settings: CacheSettings) -> None:
        """Start a cache, or go on with the same one; what a killed command was writing goes.

        One without a tar is none yet: whoever mends a teacher that failed at its first sample begins anew.

        Raises:
            UsageError: It was begun with other settings, and holds tars of them.
        """
        new, file = settings.model_dump(mode="json"), self._workspace / SETTINGS_FILE
        begun = to_json({"settings": new, "created_by": versions()})
        if not file.is_file():
            write_atomically(file, begun)
        differing = differences(self._begun["settings"], self._as_begun(new))
        if differing and self._is_unfilled():
            write_atomically(file, begun)
        elif differing:
            raise UsageError(
                f"--out {self.path} holds a teacher cache of other settings, and caches are never mixed:\n  "
                + "\n  ".join(differing)
                + "\ngive the settings it was begun with, or a new --out"
            )
        for folder in (self.path, self._workspace):
            remove_partials(folder)

    @property
    def begun_stride(self) -> int | None:
        """Output stride of the student that the cache was begun for; None where none was begun.

        Raises:
            UsageError: What was written at the beginning is damaged.
        """
        if not (self._workspace / SETTINGS_FILE).is_file():
            return None
        student = self._begun["settings"].get("student")
        stride = student.get("output_stride") if isinstance(student, dict) else None
        return stride if isinstance(stride, int) else None

    def todo(
        self, index: Index, wanted: Mapping[str, bool], magnifications: tuple[float, ...]
    ) -> list[Shard]:
        """Shards whose tars are missing, damaged, or of a shard that has changed since.

        Args:
            index: The shard set.
            wanted: Stored splits, and whether each is augmented.
            magnifications: That a tar depends on: the teacher's, where it sees images of the set, and the student's.

        Raises:
            UsageError: A split is cached already, with augmentation in place of without or the other way.
        """
        records, shards = self.records(), []
        for shard in (shard for split in wanted for shard in index.shards_of(split)):
            name = shard_name(shard.split, shard.number)
            entry = records.get(name)
            if entry is not None and entry.augmented != wanted[shard.split]:
                there, here = ("with", "without") if entry.augmented else ("without", "with")
                raise UsageError(
                    f"--out {self.path} holds {shard.split!r} {there} augmentation, and it is asked for {here}: what "
                    "is trained on is augmented and what is validated on is not; give a new --out"
                )
            current = entry is not None and is_current(shard, entry, self.path, magnifications)
            if entry is None or not current or not self._whole(entry):
                shards.append(shard)
                self._forget(name, entry)
        return shards

    def record(self, entry: ShardEntry) -> None:
        """A tar is done."""
        name = shard_name(entry.split, entry.number)
        write_atomically(self._workspace / f"{name}.json", to_json(entry.model_dump(mode="json")))

    def records(self) -> dict[str, ShardEntry]:
        """Entries of the tars that were done at some time, by name."""
        found = {}
        for path in self._workspace.glob("*-*.json"):
            try:
                found[path.stem] = ShardEntry.model_validate_json(path.read_bytes())
            except ValidationError:
                continue  # not written by this version: the tar is made again
        return found

    def finish(
        self, settings: CacheSettings, index: Index, magnifications: tuple[float, ...]
    ) -> list[ShardEntry]:
        """Write cache.json over all tars that are current, those of earlier commands too.

        Returns:
            Their entries.
        """
        shards = {shard_name(s.split, s.number): s for s in index.document.shards}
        entries = [
            entry
            for name, entry in self.records().items()
            if name in shards and is_current(shards[name], entry, self.path, magnifications)
        ]
        entries.sort(key=lambda entry: (entry.split, entry.number))
        document = self._as_begun(settings.model_dump(mode="json")) | {
            "format": FORMAT_NAME,
            "version": list(settings.expected_version),
            "created_by": self._begun["created_by"],
            "shards": [entry.model_dump(mode="json") for entry in entries],
        }
        data = to_json(document)
        path = self.path / CACHE_FILE
        if not path.is_file() or path.read_bytes() != data:
            write_atomically(path, data)
        return entries

    @property
    def _begun(self) -> dict[str, Any]:
        path = self._workspace / SETTINGS_FILE
        try:
            content = parsed_json(path.read_bytes())
            return {name: dict(content[name]) for name in ("settings", "created_by")}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}); give a new --out") from None

    def _as_begun(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings with the name that a source had when the cache was begun: what was moved since is the same."""
        begun = self._begun["settings"].get("teacher")
        name = begun.get("name") if isinstance(begun, dict) else None
        if name is None or "name" not in settings["teacher"]:
            return settings
        return settings | {"teacher": settings["teacher"] | {"name": name}}

    def _is_unfilled(self) -> bool:
        return not (self.records() or (self.path / CACHE_FILE).exists() or any(self.path.glob("*.tar")))

    def _whole(self, entry: ShardEntry) -> bool:
        return sha256_of(self.path / entry.path) == entry.sha256

    def _forget(self, name: str, entry: ShardEntry | None) -> None:
        """A tar is about to be written anew: nothing may say meanwhile that the old one is there."""
        if entry is not None:
            (self.path / CACHE_FILE).unlink(missing_ok=True)
            (self._workspace / f"{name}.json").unlink(missing_ok=True)
