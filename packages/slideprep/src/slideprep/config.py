"""The settings of a build: the options of ``build-shards``, the keys of its YAML file and the record in index.json.

One frozen model, checked on construction. What the command line leaves out comes from ``--config``, what that leaves
out from the defaults here; the reason for a default stands beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from slideprep.access import SCRATCH_GB, Access, store_settings
from slideprep.errors import UsageError
from slideprep.places import Url, local_path, place
from slideprep.shard_models import ImageFormat
from slideprep.split_settings import DEFAULT_SPLIT, SplitSettings
from slideprep.units import MagnificationMode, grid_px

TissueMode = Literal["auto", "tissueloc", "whole", "annotations"]

NOT_IN_RECORD = frozenset(
    {
        "slides",
        "out",
        "labels",
        "annotations",
        "workers",
        "ray_address",
        "slide_minutes",
        "pseudonymise",
        "save_masks",
        "save_regions",
        "scratch",
        "scratch_gb",
    }
)
"""Settings that cannot change a byte of a shard, and paths, which say more about a machine than about a set."""


def _listed(value: Any) -> Any:
    """Options arrive as "10,5,2.5", YAML as a list or a single value."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (int, float)):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


_OPTION_NAMES = {"exclude_classes": "exclude-class"}
"""Options that are not called like their setting."""

AnyPlace = Annotated[Path | Url, PlainValidator(place), PlainSerializer(str)]
"""A local path or an address."""
LocalPath = Annotated[Path, BeforeValidator(local_path)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class BuildConfig(BaseModel):
    """Everything that a build is told.

    Attributes:
        slides: Files, folders, globs or CSV files that name the slides; paths or addresses such as s3://bucket/slides.
        out: Folder of the shard set, or its address.
        labels: labels.csv or its address, or None for an unlabelled set.
        magnifications: Targets, highest first. The default is the paper's five.
        magnification_by: "objective": relative to the scan's objective, as in the paper; "mpp": physical, 10x being
            1 µm/px.
        objective: Objective power of slides that carry none.
        mpp: Microns per level-0 pixel of slides that carry none.
        tissue: How regions are found.
        tissueloc_sigma: Smoothing of ``tissueloc``, overview pixels (the published tool's default).
        tissueloc_threshold: Relative grey level under which ``tissueloc`` sees tissue (the published default).
        tissueloc_min_px: Smallest component of ``tissueloc``, overview pixels (the published default).
        tissueloc_level_px: Sides of the pyramid level that ``tissueloc`` works on stay below this (published default).
        annotations: Folder of GeoJSON or ImageScope XML files, named like the slides.
        exclude_classes: Annotated classes that are left out, such as Benign in the paper's lung data.
        mask_outside: Blank what lies outside an annotation's polygon.
        classes: Class names in the order of their indices; None for the sorted names of the labels.
        split: Train, validation, test: fractions or numbers of patients (the paper's 70/15/15).
        labelled_per_class: Patients per class that are split; None for all.
        dev_per_class: Further patients per class for the development set; None for no such set.
        aux: Patients in the nested auxiliary sets, counted from the first.
        seed: Seed of every random choice.
        image_format: Encoding of the images. JPEG: 4 to 10 times smaller than PNG, read everywhere.
        quality: Of JPEG and WebP. 95 keeps the mean error under 2 grey levels.
        shard_mb: Size that a shard aims at, at the highest magnification, megabytes.
        save_masks: Folder for tissue masks as PNG.
        save_regions: Folder for regions as GeoJSON, which QuPath opens and ``annotations`` takes.
        pseudonymise: CSV outside ``out`` that maps slide and patient names to pseudonyms; made if missing.
        workers: Worker processes; None for one per core, 0 for none (in this process, for debugging).
        ray_address: Address of a Ray cluster; None for this machine alone.
        slide_minutes: How long a task may read one slide before the slide is given up; 0 for any time. The slowest
            reader needs two hours for 100 gigapixels, more than a slide has. Without worker processes there is nobody
            to end a reader that hangs, and it does not apply.
        scratch: Local folder, on every machine, for slides that were fetched and shards before they are uploaded; None
            for the system's temporary folder. Not needed where slides and ``out`` are paths.
        scratch_gb: Fetched slides that are not in use are removed beyond this, gigabytes on each machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slides: Names
    out: AnyPlace
    labels: AnyPlace | None = None
    magnifications: Numbers = (10.0, 5.0, 2.5, 1.25, 0.625)
    magnification_by: MagnificationMode = "objective"
    objective: Annotated[float, Field(gt=0, le=200)] | None = None
    mpp: Annotated[float, Field(gt=0, le=100)] | None = None
    tissue: TissueMode = "auto"
    tissueloc_sigma: Annotated[float, Field(gt=0)] = 13.0
    tissueloc_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.80
    tissueloc_min_px: Annotated[int, Field(ge=0)] = 10_000
    tissueloc_level_px: Annotated[int, Field(ge=1)] = 2048
    annotations: LocalPath | None = None
    exclude_classes: Names = ()
    mask_outside: bool = False
    classes: Names | None = None
    split: Numbers = DEFAULT_SPLIT
    labelled_per_class: int | None = None
    dev_per_class: int | None = None
    aux: Annotated[tuple[int, ...], BeforeValidator(_listed)] = ()
    seed: int = 0
    image_format: ImageFormat = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    shard_mb: Annotated[int, Field(ge=1, le=100_000)] = 256
    save_masks: LocalPath | None = None
    save_regions: LocalPath | None = None
    pseudonymise: LocalPath | None = None
    workers: Annotated[int, Field(ge=0)] | None = None
    ray_address: str | None = None
    slide_minutes: Annotated[float, Field(ge=0)] = 120.0
    scratch: LocalPath | None = None
    scratch_gb: Annotated[float, Field(ge=0)] = SCRATCH_GB

    @field_validator("magnifications")
    @classmethod
    def _highest_first(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value:
            raise ValueError("names no magnification; give at least one, such as 10,1.25")
        if min(value) <= 0 or max(value) > 200:
            raise ValueError(f"{value} must lie between 0 and 200")
        if len({f"{m:g}" for m in value}) < len(value):
            raise ValueError(f"{value} names a magnification twice")
        if any(float(f"{m:g}") != m for m in value):
            raise ValueError(f"{value}: give at most six digits, since folders are named after them")
        value = tuple(sorted(value, reverse=True))
        grid_px(value)
        return value

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
        for option, is_set in (
            ("--exclude-class", bool(self.exclude_classes)),
            ("--mask-outside", self.mask_outside),
        ):
            if is_set and self.tissue != "annotations":
                raise ValueError(
                    f"{option} applies to annotated regions; add --tissue annotations --annotations FOLDER"
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
        train, val, test = self.split if len(self.split) == 3 else (*self.split, 0.0, 0.0, 0.0)[:3]
        if len(self.split) != 3:
            raise UsageError(
                f"--split {','.join(f'{v:g}' for v in self.split)} has {len(self.split)} values; give three, "
                "train,val,test, with 0 for a split that is not wanted"
            )
        return SplitSettings(
            split=(train, val, test),
            labelled_per_class=self.labelled_per_class,
            dev_per_class=self.dev_per_class,
            aux=self.aux,
        )

    @property
    def record(self) -> dict[str, Any]:
        """What index.json keeps, and what a second build into the same folder must share."""
        settings: dict[str, Any] = self.model_dump(mode="json")
        return {name: value for name, value in settings.items() if name not in NOT_IN_RECORD}

    @property
    def encoded_quality(self) -> int | None:
        """The quality, or None where the encoding is lossless."""
        return None if self.image_format == "png" else self.quality


def load_config(options: Mapping[str, Any], config_file: Path | None) -> BuildConfig:
    """Merge the command line over a YAML file over the defaults.

    Args:
        options: Options that were given, by field name.
        config_file: ``--config``; its keys are the fields of :class:`BuildConfig`.

    Raises:
        UsageError: A value or a combination is refused; the message names the option or the key.
    """
    given = _yaml(config_file) if config_file is not None else {}
    try:
        return BuildConfig(**{**given, **options})
    except ValidationError as error:
        raise UsageError("; ".join(_plain(problem) for problem in error.errors())) from None


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
    given = "" if problem["type"] == "value_error" else f" (given: {problem['input']!r})"
    return f"--{_OPTION_NAMES.get(name, name.replace('_', '-'))}: {message}{given}"


def _unknown(name: str) -> str:
    settings = sorted(BuildConfig.model_fields)
    near = get_close_matches(name, settings, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    return f"'{name}' is no setting of build-shards{meant}; its settings are {', '.join(settings)}"


def _yaml(path: Path) -> dict[str, Any]:
    try:
        local_path(path)
    except ValueError as error:
        raise UsageError(f"--config {error}") from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"--config {path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} must map settings to values, such as 'magnifications: [10, 1.25]'")
    return {str(key).replace("-", "_"): value for key, value in content.items()}
