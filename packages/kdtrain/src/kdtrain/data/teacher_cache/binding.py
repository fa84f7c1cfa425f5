"""Which cache fits which run: by content, not by name. What differs is said, with the command that makes one that fits.

Rules T17 to T19 of shards/TEACHER_CACHE.md. Nothing is opened here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from kdtrain.augment import AugmentSettings
from kdtrain.config.phases import DistillConfig
from kdtrain.data.teacher_cache.document import (
    RunDocument,
    ShardEntry,
    SourceDocument,
    SourceEntry,
    TeacherCache,
    shard_name,
    without_stain,
)
from kdtrain.errors import UsageError
from kdtrain.model.network import Network
from kdtrain.shards.index import Index
from kdtrain.shards.models import Shard, magnification_name

_OF_SOURCE = ", and with the options of its own that cache.json has under teacher.settings"
_NAMED = 3
"""Shards that a message names; the rest it counts."""


def sources_of(shard: Shard, magnifications: Iterable[float]) -> dict[str, str]:
    """SHA-256 of a shard's tars, by magnification, of those that the set has."""
    names = [magnification_name(m) for m in magnifications]
    return {name: shard.files[name].sha256 for name in names if name in shard.files}


def check_cache(
    cache: TeacherCache,
    config: DistillConfig,
    index: Index,
    *,
    teacher_sha256: str | None,
    train_on: Sequence[str],
    validate_on: Sequence[str],
) -> None:
    """Refuse a cache that was made for something else.

    Args:
        cache: That was opened.
        config: Settings of the run.
        index: The shard set.
        teacher_sha256: SHA-256 of the weights of --teacher, where it was given.
        train_on: Stored splits that are trained on.
        validate_on: Stored splits that are validated on.

    Raises:
        UsageError: Names everything that differs, and a command that makes a cache that fits.
    """
    other = [*_other_teacher(cache, teacher_sha256), *_other_settings(cache, config, index)]
    lacking = [
        *_other_shards(cache, index, train_on, augmented=config.augment),
        *_other_shards(cache, index, validate_on, augmented=False),
    ]
    if not other and not lacking:
        return
    lines = "\n  ".join([*other, *lacking])
    # Shards that are missing or changed are written into a cache whose settings fit.
    out = "CACHE" if other or any("T19" in line for line in lacking) else str(cache.directory)
    raise UsageError(
        f"--teacher-cache {cache.directory} does not fit this run:\n  {lines}\nthis makes one that fits: "
        f"{fitting_command(cache, config, out)}{_OF_SOURCE * isinstance(cache.document, SourceDocument)}"
    )


def fitting_command(cache: TeacherCache, config: DistillConfig, out: str) -> str:
    """The command that makes a cache for a run."""
    words = ["kdtrain", "cache-teacher", "--shards", str(config.shards)]
    source = None
    if isinstance(cache.document, SourceDocument):
        # Features are known by their content, wherever they lie.
        teacher = cache.document.teacher
        source = "FEATURES" if teacher.kind == "features" else teacher.name
    words += ["--teacher", str(config.teacher or "TEACHER")] if source is None else ["--from", source]
    words += ["--magnification", f"{config.magnification:g}"]
    if config.augment:
        words += ["--views", str(max(config.views, cache.document.views)), "--seed", str(cache.document.seed)]
        words += ["--jitter", ",".join(f"{value:g}" for value in config.jitter)]
        if config.stain_augmentation:
            words += ["--stain-augmentation", f"{config.stain_augmentation:g}"]
    else:
        words += ["--views", "1", "--no-augment"]
    if config.train_on != ("train",):
        words += ["--train-on", ",".join(config.train_on)]
    if config.validate_on is not None:
        words += ["--validate-on", config.validate_on]
    if config.output_stride is not None:
        words += ["--output-stride", str(config.output_stride)]
    return shlex.join([*words, "--out", out])


def _other_teacher(cache: TeacherCache, sha256: str | None) -> Iterator[str]:
    teacher = cache.document.teacher
    if isinstance(teacher, SourceEntry):
        if sha256 is not None:
            yield f"teacher: {teacher.name}, which is no run, there, and --teacher here (rule T17 teacher)"
        return
    there = teacher.weights_sha256
    if sha256 is not None and sha256 != there:
        yield f"teacher: weights {there[:12]}... there, {sha256[:12]}... in --teacher (rule T17 teacher)"


def _other_settings(cache: TeacherCache, config: DistillConfig, index: Index) -> Iterator[str]:
    document, classes = cache.document, tuple(index.document.classes)
    if classes and cache.classes and classes != cache.classes:
        yield f"classes: {', '.join(cache.classes)} there, {', '.join(classes)} in the set (rule T19 settings)"
    student = document.student
    if student.magnification != config.magnification:
        yield (
            f"--magnification: {student.magnification:g} there, {config.magnification:g} here (rule T19 settings)"
        )
    if config.output_stride not in (None, student.output_stride):
        yield f"--output-stride: {student.output_stride} there, {config.output_stride} here (rule T19 settings)"
    if document.settings != config.augmentation:
        yield (
            f"augmentation: {_shown(document.settings)} there, {_shown(config.augmentation)} here "
            "(--jitter, --stain-augmentation, --no-augment; rule T19 settings)"
        )
    if config.views > document.views:
        yield f"--views: {document.views} there, {config.views} here (rule T19 settings)"


def _shown(settings: AugmentSettings | None) -> str:
    if settings is None:
        return "none"
    shown = without_stain(asdict(settings), 0.0)
    return ", ".join(f"{name} {value:g}" for name, value in shown.items())


def _other_shards(
    cache: TeacherCache, index: Index, splits: Sequence[str], *, augmented: bool
) -> Iterator[str]:
    missing, changed, otherwise = [], [], []
    document = cache.document
    for shard in (shard for split in splits for shard in index.shards_of(split)):
        name, entry = shard_name(shard.split, shard.number), cache.entry_of(shard)
        if entry is None:
            missing.append(name)
        elif not _same_source(shard, entry, _read(document, entry)):
            changed.append(name)
        elif entry.augmented != augmented:
            otherwise.append(name)
    use = "to train on" if augmented else "without augmentation"
    if missing:
        yield f"shards: {_listed(missing)} not cached (rule T18 source)"
    if changed:
        yield f"shards: {_listed(changed)} changed since they were cached (rule T18 source)"
    if otherwise:
        yield f"shards: {_listed(otherwise)} cached otherwise than {use} (rule T19 settings)"


def _read(document: RunDocument | SourceDocument, entry: ShardEntry) -> set[str]:
    """Names of the magnifications that a tar depends on."""
    student = magnification_name(document.student.magnification)
    if isinstance(document, SourceDocument):  # which it saw is known from what it recorded alone
        return {*entry.sources, student}
    return {magnification_name(Network.of(document.teacher.network).magnification), student}


def _same_source(shard: Shard, entry: ShardEntry, names: Iterable[str]) -> bool:
    now = {name: shard.files[name].sha256 for name in names if name in shard.files}
    return shard.keys_sha256 == entry.keys_sha256 and all(entry.sources.get(m) == s for m, s in now.items())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def is_current(shard: Shard, entry: ShardEntry, directory: Path, magnifications: Iterable[float]) -> bool:
    """Whether a tar of a cache is still that of its shard, and there in full size."""
    path = directory / entry.path
    there = path.is_file() and path.stat().st_size == entry.bytes
    return there and _same_source(shard, entry, map(magnification_name, magnifications))
