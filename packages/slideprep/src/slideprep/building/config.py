"""The settings of a build: the options of ``build-shards``, the keys of its YAML file and the record in index.json.

One frozen model, checked on construction. What the command line leaves out comes from ``--config``, what that leaves
out from the defaults here; the reason for a default stands beside it.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from slideprep.building.limits import QualityLimits
from slideprep.building.settings_file import read_settings
from slideprep.errors import UsageError
from slideprep.labels.split_plan import DEFAULT_SPLIT, MOST_PATIENTS, SplitSettings
from slideprep.regions.settings import Names, Numbers, ReadSettings, Real, ShownNames, Whole, listed
from slideprep.storage.access import SCRATCH_GB, Access, store_settings
from slideprep.storage.places import Url, local_path, place
from slideprep.workers.own_ray import START_SECONDS

_UNRECORDED = Field(exclude=True)
"""For settings that cannot change a byte of a shard, and for paths, which tell of a machine and not of a set."""

_LONGEST_SEED = 2**63 - 1
"""What every program that reads index.json can hold."""

_SHOWN = 10
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
_SHORT.maxstring = 80
"""How a refused value is shown: of lists within lists the beginning alone, whose whole can be without bound."""

REPEATED = {"exclude_classes": "--exclude-class"}
"""Lists whose option takes one item, and may be repeated."""

_AnyPlace = Annotated[Path | Url, PlainValidator(place)]
"""A local path or an address."""
_Share = Annotated[Real, Field(ge=0, le=1)]
_Patients = Annotated[Whole, Field(le=MOST_PATIENTS)]
_LocalPath = Annotated[Path | None, BeforeValidator(local_path), _UNRECORDED]


class BuildConfig(ReadSettings):
    """Everything that a build is told: how slides are read, and what becomes of them.

    Besides those of :class:`~slideprep.regions.settings.ReadSettings` and
    :class:`~slideprep.labels.split_plan.SplitSettings`; the first sentence on each is the help of its option:

    Attributes:
        slides: Files, folders, globs or CSV files that name the slides; paths or addresses such as s3://bucket/slides.
        out: Folder of the shard set, or its address; new, or of the same build.
        labels: CSV with columns slide, label, patient; optional split, mpp, objective. A path or an address; None for
            an unlabelled set.
        annotations: Folder of GeoJSON (QuPath) or XML (ImageScope) files, named like the slides.
        classes: Class names in the order of their indices; None for sorted names.
        seed: Seed of every random choice.
        min_focus: Leave out regions less sharp than this; None for no limit. It, and the next three, are decided
            once a region's images are made, on the numbers of regions.csv; docs/own-slides.md says what they mean.
        max_ink: Leave out regions with a greater share of marker ink, 0 to 1; None for no limit.
        max_folds: Leave out regions with a greater share of tissue in folds, 0 to 1; None for no limit.
        max_bubbles: Leave out regions with a greater share inside air bubbles, 0 to 1; None for no limit.
        shard_mb: Size that a shard aims at, megabytes. It is that of the highest magnification.
        save_masks: Folder for tissue masks as PNG.
        save_regions: Folder for regions as GeoJSON, for QuPath. ``annotations`` takes it, too.
        pseudonymise: CSV, outside --out, that maps names to pseudonyms; made if missing.
        workers: Worker processes; 0 for none; None for one per core. With none, this process does all, for debugging.
        ray_address: Address of a Ray cluster; None for this machine alone.
        start_seconds: How long worker processes of this machine may take to start, seconds. A busy machine needs more.
        slide_minutes: Give a slide up that a task reads for longer; 0: never; not with --workers 0. The slowest
            reader needs two hours for 100 gigapixels, more than a slide has. Without worker processes there is nobody
            to end a reader that hangs.
        scratch: Local folder for what is fetched or not yet uploaded; None for the system's temporary folder. It is
            one on every machine, and not needed where slides and ``out`` are paths.
        scratch_gb: Fetched slides are kept up to this, gigabytes. Beyond it, on each machine, those that are not in
            use are removed.
    """

    slides: Annotated[Names, _UNRECORDED]
    out: Annotated[_AnyPlace, _UNRECORDED]
    labels: Annotated[_AnyPlace | None, _UNRECORDED] = None
    annotations: _LocalPath = None
    classes: ShownNames | None = None
    split: Numbers = DEFAULT_SPLIT
    labelled_per_class: _Patients | None = None
    dev_per_class: _Patients | None = None
    aux: Annotated[tuple[_Patients, ...], BeforeValidator(listed)] = ()
    patients_differ: Annotated[bool, _UNRECORDED] = False
    seed: Annotated[Whole, Field(ge=-_LONGEST_SEED, le=_LONGEST_SEED)] = 0
    min_focus: Annotated[Real, Field(ge=0, le=10)] | None = None
    max_ink: _Share | None = None
    max_folds: _Share | None = None
    max_bubbles: _Share | None = None
    shard_mb: Annotated[Whole, Field(ge=1, le=100_000)] = 256
    save_masks: _LocalPath = None
    save_regions: _LocalPath = None
    pseudonymise: _LocalPath = None
    workers: Annotated[Whole | None, Field(ge=0, le=100_000), _UNRECORDED] = None
    ray_address: Annotated[str | None, _UNRECORDED] = None
    start_seconds: Annotated[Real, Field(gt=0, le=86_400), _UNRECORDED] = START_SECONDS
    slide_minutes: Annotated[Real, Field(ge=0, le=1_000_000), _UNRECORDED] = 120.0
    scratch: _LocalPath = None
    scratch_gb: Annotated[Real, Field(ge=0, le=1_000_000), _UNRECORDED] = SCRATCH_GB

    @model_validator(mode="after")
    def _consistent(self) -> BuildConfig:
        if self.tissue == "annotations" and self.annotations is None:
            raise ValueError(
                "--tissue annotations needs --annotations FOLDER with one GeoJSON or XML file per slide"
            )
        if self.annotations is not None and self.tissue != "annotations":
            raise ValueError(
                f"--annotations is read only with --tissue annotations, not with --tissue {self.tissue}"
            )
        for option, path in (("--save-masks", self.save_masks), ("--save-regions", self.save_regions)):
            if path is not None and self._is_in_out(path):
                raise ValueError(
                    f"{option} {path} lies inside --out {self.out}, which holds shards alone; give another"
                )
        if self.pseudonymise is not None and self._is_in_out(self.pseudonymise):
            raise ValueError(
                f"--pseudonymise {self.pseudonymise} lies inside --out {self.out}; the mapping back to the names must "
                "stay outside the set that is passed on"
            )
        _ = self.splitting
        return self

    def _is_in_out(self, path: Path) -> bool:
        return isinstance(self.out, Path) and path.resolve().is_relative_to(self.out.resolve())

    @property
    def access(self) -> Access:
        """How workers reach what is not on their machines."""
        return Access(
            scratch=self.scratch and self.scratch.resolve(),
            limit_bytes=round(self.scratch_gb * 1e9),
            environment=store_settings(os.environ),
        )

    @property
    def splitting(self) -> SplitSettings:
        """The options that decide which patient goes where."""
        return SplitSettings(**{field.name: getattr(self, field.name) for field in fields(SplitSettings)})

    @property
    def limits(self) -> QualityLimits:
        """The quality that a region must have."""
        return QualityLimits(**{field.name: getattr(self, field.name) for field in fields(QualityLimits)})

    @property
    def record(self) -> dict[str, Any]:
        """What index.json keeps, and what a second build into the same folder must share.

        Limits that are not asked for are not in it: a set without is that of a version that knew none.
        """
        unlimited = {field.name for field in fields(QualityLimits) if getattr(self, field.name) is None}
        return self.model_dump(mode="json", exclude=unlimited)


def load_config(options: Mapping[str, Any], config_file: Path | None) -> BuildConfig:
    """Merge the command line over a YAML file over the defaults.

    Args:
        options: Options that were given, by field name.
        config_file: ``--config``; its keys are the fields of :class:`BuildConfig`.

    Raises:
        UsageError: A value or a combination is refused; the message names the option or the key.
    """
    given = read_settings(config_file) if config_file is not None else {}
    try:
        return BuildConfig(**{**given, **options})
    except ValidationError as error:
        problems = error.errors(include_url=False)
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UsageError("; ".join(map(_plain, problems[:_SHOWN])) + more) from None


def option_of(setting: str) -> str:
    """The option that gives a setting."""
    return REPEATED.get(setting, f"--{setting.replace('_', '-')}")


def _plain(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"{name} is missing: " + (
            "give --out DIR" if name == "out" else "name files, folders or globs"
        )
    if problem["type"] == "extra_forbidden":
        return _unknown(name)
    given = "" if problem["type"] == "value_error" else f" (given: {_SHORT.repr(problem['input'])})"
    return f"{option_of(name)}: {message}{given}"


def _unknown(name: str) -> str:
    settings = sorted(BuildConfig.model_fields)
    near = get_close_matches(name, settings, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    return f"'{name}' is no setting of build-shards{meant}; its settings are {', '.join(settings)}"
