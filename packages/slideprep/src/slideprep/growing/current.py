"""A finished set on disk in, everything that its build knew at the end out.

Needs the builder's workspace (``.slideprep``) beside the index: the tars alone do not say which pixels the statistics
count, nor which slides failed.

A set shows the names of its slides and patients, or the pseudonyms of one mapping. A mapping has a salt of its own, so
another one gives a patient of the set another pseudonym: the patient would pass for a new one and could come into a
second split.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slideprep.building.config import BuildConfig
from slideprep.building.finished import Finished, Past
from slideprep.building.plan import Shard, samples_of
from slideprep.building.prepare import Prepared
from slideprep.building.scans import sent
from slideprep.building.state import STATE_PATH, SetState
from slideprep.building.workspace import BUILD_PATH, Workspace, record_path
from slideprep.errors import InputError, UsageError
from slideprep.labels.pseudonyms import Pseudonyms
from slideprep.labels.split_plan import PlannedSlide, SplitPlan, named_sets
from slideprep.regions.scan import Scan
from slideprep.shards.format import INDEX_NAME, Index, ShardEntry, shard_name
from slideprep.shards.models import StatisticsOf
from slideprep.shards.records import Failure, ShardRecord
from slideprep.storage.files import output_errors
from slideprep.storage.places import Place
from slideprep.storage.remote import UnansweredError
from slideprep.storage.store import Store

NO_ANNOTATIONS = Path("annotations")
"""Stands where a set was built from annotations and they are not at hand; only an addition reads any."""

_PSEUDONYM = re.compile(r"slide-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class CurrentSet:
    """A finished set.

    Attributes:
        out: Its folder.
        index: Its index.
        index_sha256: SHA-256 of the index's bytes, which identifies the set.
        identity: The workspace's record of what was built (``build.json``).
        finished: Everything behind the index.
    """

    out: Place
    index: Index
    index_sha256: str
    identity: Mapping[str, Any]
    finished: Finished

    @property
    def plan(self) -> SplitPlan:
        """Where every slide went."""
        return self.finished.prepared.plan

    @property
    def held(self) -> frozenset[str]:
        """Names of the slides that have a sample in the shards."""
        return frozenset(sample.slide for sample in self.finished.samples.values())


def open_set(store: Store) -> CurrentSet:
    """Read a finished set and its workspace.

    Raises:
        UsageError: There is no finished set, or its workspace is missing or is not that of this index.
        OutputError: The store does not answer.
    """
    with _answered(store):
        return _open_set(store)


@contextmanager
def _answered(store: Store) -> Iterator[None]:
    """A store that does not answer says nothing about the set."""
    try:
        yield
    except UnansweredError:
        with output_errors(store.place):
            raise


def _open_set(store: Store) -> CurrentSet:
    out = store.place
    try:
        data = store.read(INDEX_NAME)
        index = Index.model_validate_json(data)
    except UnansweredError:
        raise
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{out} holds no sound shard set of this version, so it cannot be changed ({_reason(error)}); run "
            "'slideprep verify' to see what is wrong"
        ) from None
    try:
        state = SetState.model_validate_json(store.read(STATE_PATH))
        identity = _identity(store)
        records = tuple(_record(store, entry) for entry in index.shards)
        workspace = Workspace(store)
        scans = {n: sent(workspace.kept_scan(n)) for n, slide in state.slides.items() if slide.scanned}
    except UnansweredError:
        raise
    except (OSError, ValueError, KeyError, InputError) as error:
        raise UsageError(
            f"{out} cannot be changed: its workspace .slideprep is missing or incomplete ({_reason(error)}); it must "
            "be moved together with the tars. To make it anew, delete index.json and run the same build-shards "
            "command again with this version: finished shards are kept"
        ) from None
    finished = assemble(
        config=config_of(index, out),
        slides={name: slide.planned(name) for name, slide in state.slides.items()},
        classes=index.classes,
        scans=scans,
        records=records,
        failures=state.failures,
        pictures=state.pictures,
        past=Past(
            created_by=index.created_by,
            synthetic=state.synthetic,
            statistics_shards=index.statistics_shards,
            statistics_of=_statistics_of(index),
            changes=index.changes,
        ),
    )
    return CurrentSet(
        out=out,
        index=index,
        index_sha256=hashlib.sha256(data).hexdigest(),
        identity=identity,
        finished=finished,
    )


def _statistics_of(index: Index) -> StatisticsOf:
    """The pixels that sums in the set's records are of; where there are none yet, those of a new set."""
    if index.statistics is None:
        return "unencoded"
    return index.statistics_of or "decoded"


def _identity(store: Store) -> dict[str, Any]:
    identity = json.loads(store.read(BUILD_PATH))
    if not isinstance(identity, dict) or not isinstance(identity.get("slides"), dict):
        raise InputError("build.json is not that of a build")
    return identity


def _record(store: Store, entry: ShardEntry) -> ShardRecord:
    name = shard_name(entry.split, entry.number)
    record = ShardRecord.model_validate_json(store.read(record_path(name)))
    if record.files != entry.files or len(record.keys) != entry.samples:
        raise InputError(f"its record of {name} is not that of the index")
    return record


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {Path(str(error.filename)).name}"
    if isinstance(error, ValidationError):
        return f"{error.title}: {error.errors()[0]['msg']}"
    return str(error)


def config_of(index: Index, out: Place, **options: Any) -> BuildConfig:
    """The settings that a set was built with.

    Args:
        index: The set's index.
        out: Its folder.
        options: Settings that the index does not keep, such as ``labels``.

    Raises:
        UsageError: An option is wrong or does not go with the settings, or this version does not know one of them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if index.config.get("tissue") == "annotations":
        given.setdefault("annotations", NO_ANNOTATIONS)
    try:
        return BuildConfig(**{"slides": (), **index.config, **given, "out": out})
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"--{str(problem['loc'][0]).replace('_', '-')}: " if problem["loc"] else ""
        raise UsageError(
            f"the options given and the settings that {out} was built with do not go together: "
            f"{name}{problem['msg'].removeprefix('Value error, ')}"
        ) from None


def assemble(
    *,
    config: BuildConfig,
    slides: Mapping[str, PlannedSlide],
    classes: Sequence[str],
    scans: Mapping[str, Scan],
    records: Iterable[ShardRecord],
    failures: Sequence[Failure],
    pictures: Mapping[str, bytes],
    past: Past,
) -> Finished:
    """A finished build from its parts; samples, unions and tables follow from them.

    Args:
        config: The settings.
        slides: Where every slide goes, by name.
        classes: In the order of their indices.
        scans: By slide name.
        records: Records of every shard.
        failures: Failures of slides, before any shard was begun.
        pictures: Thumbnails of slides that failed, by name.
        past: What the set keeps.
    """
    ordered = sorted(records, key=lambda record: (record.split, record.number))
    stored = {record.split for record in ordered} | {slide.split for slide in slides.values() if slide.split}
    plan = SplitPlan(
        slides=dict(sorted(slides.items())), classes=tuple(classes), sets=named_sets(stored), warnings=()
    )
    scans = dict(sorted(scans.items()))
    samples = {sample.key: sample for sample in samples_of(plan, scans, source=config.tissue)[0]}
    shards = [
        Shard(split=r.split, number=r.number, samples=tuple(samples[key] for key in r.keys)) for r in ordered
    ]
    return Finished(
        config=config,
        prepared=Prepared(files={}, entries={}, annotations={}, plan=plan, failures=(), warnings=()),
        scans=scans,
        shards=shards,
        records=ordered,
        failures=failures,
        pictures=pictures,
        warnings=(),
        past=past,
    )


def is_hidden(current: CurrentSet) -> bool:
    """Whether a set shows pseudonyms."""
    return all(_PSEUDONYM.fullmatch(name) for name in current.plan.slides)


def mapping_of(current: CurrentSet, path: Path) -> Pseudonyms:
    """The mapping of a pseudonymised set.

    Args:
        current: The set.
        path: What was given as its mapping.

    Raises:
        UsageError: The set shows names, or the file is missing, is no mapping, or is that of another set.
    """
    if not is_hidden(current):
        raise UsageError(
            f"the slides of {current.out} are shown by name, so --pseudonymise would mix names and pseudonyms; "
            "leave it out"
        )
    if not path.exists():
        raise UsageError(
            f"--pseudonymise {path} does not exist, and a new mapping would give the patients of {current.out} other "
            "pseudonyms; give the mapping of its build"
        )
    pseudonyms = Pseudonyms(path)
    if current.plan.slides.keys().isdisjoint(pseudonyms.known("slide").values()):
        raise UsageError(
            f"--pseudonymise {path} is not the mapping of {current.out}: it knows none of its slides, so a patient of "
            "the set would pass for a new one; give the mapping of its build"
        )
    return pseudonyms
