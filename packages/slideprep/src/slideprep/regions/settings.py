"""The settings that decide which regions of a slide become images, and their bytes: the same names everywhere.

They are options of ``build-shards``, keys of its YAML file and of ``config`` in index.json, and what is given to
:func:`slideprep.extract`. Whoever reads a slide under the settings of a shard set gets the bytes that the set holds.

:class:`ScanJob` is one slide with its settings: what a scan is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from slideprep.errors import UsageError
from slideprep.shards.models import ImageFormat
from slideprep.slides.files import SlideFile, shown_reason
from slideprep.storage.access import Access
from slideprep.text import number, readable, whole_number
from slideprep.units import MagnificationMode, grid_px

TissueMode = Literal["auto", "tissueloc", "whole", "annotations"]


def listed(value: Any) -> Any:
    """Options arrive as "10,5,2.5", YAML as a list or a single value; a script has paths where options are texts."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (int, float, Path)):
        value = (value,)
    if isinstance(value, (list, tuple)):
        return tuple(str(part) if isinstance(part, Path) else part for part in value)
    return value


def _real(value: Any) -> Any:
    """A text is a number only where a table would have it as one; yes and no are none."""
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a number")
    return number(value) if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a whole number")
    return whole_number(value) if isinstance(value, str) else value


def _shown(value: str) -> str:
    if readable(value) != value:
        raise ValueError(
            f"'{readable(value)}' holds what cannot be shown, here as an escape, so no label has it; write it without"
        )
    return value


Real = Annotated[float, BeforeValidator(_real)]
Whole = Annotated[int, BeforeValidator(_whole)]
Numbers = Annotated[tuple[Real, ...], BeforeValidator(listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]
ShownNames = Annotated[tuple[Annotated[str, AfterValidator(_shown)], ...], BeforeValidator(listed)]


class ReadSettings(BaseModel):
    """What decides a slide's regions and the bytes of their images.

    The first sentence on each is the help of its option.

    Attributes:
        magnifications: Targets, such as 10,1.25. Kept highest first; together they decide the grid that regions are
            laid out on, and which regions are too small. The default is the paper's five.
        magnification_by: Relative to the scan's objective, or physical (10x = 1 µm/px). The paper's are relative.
        objective: Objective power of slides that carry none.
        mpp: Microns per level-0 pixel of slides that carry none.
        tissue: How regions are found.
        tissueloc_sigma: tissueloc: smoothing, overview pixels. As of the next three, the published tool's default.
        tissueloc_threshold: tissueloc: relative grey level under which there is tissue.
        tissueloc_min_px: tissueloc: smallest component, overview pixels.
        tissueloc_level_px: tissueloc: sides of the level that it works on are below this, pixels.
        exclude_classes: Annotated class to leave out; may be repeated. In the paper's lung data, Benign.
        mask_outside: Blank what lies outside an annotation. What counts is its polygon.
        image_format: Encoding of the images. JPEG: 4 to 10 times smaller than PNG, read everywhere.
        quality: Of JPEG and WebP, 1 to 100. 95 keeps the mean error under 2 grey levels.

    Raises:
        ValidationError: A value is refused; a ``ValueError`` of pydantic that names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    magnifications: Numbers = (10.0, 5.0, 2.5, 1.25, 0.625)
    magnification_by: MagnificationMode = "objective"
    objective: Annotated[Real, Field(gt=0, le=200)] | None = None
    mpp: Annotated[Real, Field(gt=0, le=100)] | None = None
    tissue: TissueMode = "auto"
    tissueloc_sigma: Annotated[Real, Field(gt=0, le=1000)] = 13.0
    tissueloc_threshold: Annotated[Real, Field(gt=0, lt=1)] = 0.80
    tissueloc_min_px: Annotated[Whole, Field(ge=0, le=1_000_000_000)] = 10_000
    tissueloc_level_px: Annotated[Whole, Field(ge=1, le=1_000_000)] = 2048
    exclude_classes: ShownNames = ()
    mask_outside: bool = False
    image_format: ImageFormat = "jpeg"
    quality: Annotated[Whole, Field(ge=1, le=100)] = 95

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
    def _for_annotations(self) -> ReadSettings:
        for option, is_set in (
            ("--exclude-class", bool(self.exclude_classes)),
            ("--mask-outside", self.mask_outside),
        ):
            if is_set and self.tissue != "annotations":
                raise ValueError(
                    f"{option} applies to annotated regions; add --tissue annotations --annotations FOLDER"
                )
        return self

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> ReadSettings:
        """The settings under which a shard set was built.

        Args:
            config: ``config`` of its index.json; what else it holds is passed over.

        Raises:
            UsageError: A setting is missing or refused.
        """
        missing = [name for name in ReadSettings.model_fields if name not in config]
        if missing:
            raise UsageError(
                f"config lacks {', '.join(missing)}, without which a slide cannot be read as the shard set was; "
                "give 'config' of the set's index.json as it is"
            )
        try:
            return ReadSettings(**{name: config[name] for name in ReadSettings.model_fields})
        except ValidationError as error:
            problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
            raise UsageError(
                f"config holds settings that no shard set was built with ({problems}); give 'config' of the set's "
                "index.json as it is"
            ) from None

    def reading(self) -> ReadSettings:
        """These settings alone, of a model that adds others to them."""
        return ReadSettings(**{name: getattr(self, name) for name in ReadSettings.model_fields})

    @property
    def encoded_quality(self) -> int | None:
        """The quality, or None where the encoding is lossless."""
        return None if self.image_format == "png" else self.quality


@dataclass(frozen=True, kw_only=True)
class ScanJob:
    """One slide to scan.

    Attributes:
        file: The slide.
        shown_name: Its name in all output: the file's name or its pseudonym.
        settings: What decides its regions.
        label_objective: Objective power in labels.csv.
        label_mpp: Microns per pixel in labels.csv.
        annotations: Its annotation file, in ``annotations`` mode.
        save_masks: Folder for its tissue mask, or None.
        access: How the worker reaches a slide that is not on its machine.
    """

    file: SlideFile
    shown_name: str
    settings: ReadSettings
    label_objective: float | None = None
    label_mpp: float | None = None
    annotations: Path | None = None
    save_masks: Path | None = None
    access: Access = field(default_factory=Access)

    def shown(self, text: str) -> str:
        """A message about this slide as it may be seen: under a pseudonym, without the real names."""
        others = () if self.annotations is None else (self.annotations,)
        return shown_reason(text, self.file, self.shown_name, *others)
