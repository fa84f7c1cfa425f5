"""A recipe: which runs make up a sweep. A YAML file in, a checked model out; no shard set is opened here.

Settings stand beside the keys of their section, under the names that the phases' options have
(:mod:`kdtrain.config.phases`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from kdtrain.config.common import GONE, Magnification, OutputStride, Seed, Stem, Width
from kdtrain.config.phases import (
    BaselineConfig,
    DistillConfig,
    FinetuneConfig,
    PhaseConfig,
    Resize,
    TeacherConfig,
)
from kdtrain.config.yaml_files import yaml_mapping
from kdtrain.errors import UsageError
from kdtrain.shards.locations import LocationField
from kdtrain.sweep.grid import LISTED
from kdtrain.text import brief

PhaseName = Literal["baseline", "distill", "finetune"]
CONFIGS: Mapping[str, type[PhaseConfig]] = {
    kind.phase: kind for kind in (TeacherConfig, BaselineConfig, DistillConfig, FinetuneConfig)
}
DECIDED = frozenset({"shards", "out", "seed", "magnification", "teacher", "student", "folds", "fold"})
"""Fields of a phase that the sweep fills in itself, run by run."""
KNOWN = frozenset().union(*(kind.model_fields for kind in CONFIGS.values())) - DECIDED
"""What a recipe may set."""
TEACHER = "Teacher"
"""The label of teachers in tables, and their key among the paper's numbers."""

# A label names folders, and names of files end at 255 bytes.
Label = Annotated[str, Field(min_length=1, max_length=100)]
PaperMetric = Literal["accuracy", "f1", "precision", "recall"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("seeds", "magnifications", "splits", *LISTED, check_fields=False)
    @classmethod
    def _each_once(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if values is not None and len(set(values)) != len(values):
            raise ValueError("something is there twice")
        return values


class _WithSettings(_Strict):
    """A section whose keys are its own, or settings of the phases."""

    settings: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, section: Any) -> Any:
        if not isinstance(section, dict):
            return section
        if "settings" in section:
            raise ValueError("write settings beside the other keys here, without 'settings:'")
        settings = {k: v for k, v in section.items() if k in KNOWN and not cls._is_own(k, v)}
        return {k: v for k, v in section.items() if k not in settings} | {"settings": settings}

    @classmethod
    def _is_own(cls, key: str, value: Any) -> bool:
        # 'resize' is a setting, as 'width' is; only a list of them is a method's own.
        return key in cls.model_fields and isinstance(value, list)


class TeacherRecipe(_WithSettings):
    """Phase I.

    Attributes:
        settings: Settings of the teachers alone; written beside the other keys.
        magnification: Magnification of their images (the paper's 10x).
        seed: Seed of one teacher that all runs share, as in the paper. Left out: each seed has a teacher of its own.
        run: Folder of a teacher that exists, which is then not trained; beside it nothing else is said.
    """

    magnification: Magnification = 10.0
    seed: Seed | None = None
    run: Path | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> TeacherRecipe:
        if self.run is not None and (self.model_fields_set - {"run", "settings"} or self.settings):
            raise ValueError("a teacher that exists ('run') is not trained; leave the other keys out")
        return self


class MethodRecipe(_WithSettings):
    """A row of the result: one phase at several magnifications.

    Attributes:
        settings: Settings of this method alone; written beside the other keys.
        phase: baseline, distill or finetune.
        student: For finetune: the method whose students are fine-tuned.
        magnifications: Left out: those of the recipe, or of the student's method.
        resize: A list makes one method of each value, labelled as in the paper's supplement.
        output_stride: A list makes one method of each value, labelled "KD s8", and with the other lists one of each
            combination.
        width: Likewise, "KD w0.5".
        stem: Likewise, "KD small stem".
    """

    phase: PhaseName
    student: str | None = None
    magnifications: Annotated[tuple[Magnification, ...], Field(min_length=1)] | None = None
    resize: Annotated[tuple[Resize, ...], Field(min_length=1)] = ()
    output_stride: Annotated[tuple[OutputStride, ...], Field(min_length=1)] = ()
    width: Annotated[tuple[Width, ...], Field(min_length=1)] = ()
    stem: Annotated[tuple[Stem, ...], Field(min_length=1)] = ()

    @property
    def lists(self) -> Mapping[str, tuple[Any, ...]]:
        """Values of the settings of which it has a list."""
        return {name: values for name in LISTED if (values := getattr(self, name))}

    @model_validator(mode="after")
    def _fits_its_phase(self) -> MethodRecipe:
        if (self.phase == "finetune") != (self.student is not None):
            raise ValueError(
                "'student' names the method to fine-tune: needed by finetune, and by nothing else"
            )
        foreign = {*self.settings, *self.lists} - set(CONFIGS[self.phase].model_fields)
        if foreign:
            raise ValueError(f"{self.phase} has no setting {', '.join(sorted(foreign))}")
        return self


class EvaluateRecipe(_Strict):
    """How every run is measured.

    Attributes:
        splits: Labelled splits or sets.
        unit: What the bootstrap draws.
        iterations: Its draws (the paper's 10,000).
        calibrate_on: Labelled split or set that every run is calibrated on first, such as val. Left out: none is, and
            no label is read but to measure.
    """

    splits: Annotated[tuple[str, ...], Field(min_length=1)] = ("test",)
    unit: Literal["patient", "sample"] = "patient"
    iterations: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    calibrate_on: str | None = None


class FoldsRecipe(_Strict):
    """Cross-validation by patient.

    Attributes:
        count: Folds.
        seed: Seed of who is in which.
        splits: Stored splits whose patients are dealt out. Left out: all labelled ones.
    """

    count: Annotated[int, Field(ge=2, le=1_000)]
    seed: Seed = 0
    splits: tuple[str, ...] = ()


def _folds(given: Any) -> Any:
    """``folds: 5`` is short for ``folds: {count: 5}``."""
    return given if isinstance(given, dict) or given is None else {"count": given}


class Recipe(_Strict):
    """All of it.

    Attributes:
        title: Heading of the report.
        about: Command, expected cost, data needed: shown by the dry run and the report.
        shards: Folder of the shard set, or its URL.
        out: Folder of the sweep.
        seeds: Every method is run once with each.
        magnifications: Magnifications of students and baselines.
        settings: Settings of every run whose phase has them.
        teacher: Left out where nothing is distilled.
        methods: By their labels in tables.
        evaluate: How every run is measured.
        folds: Every run is trained once for each fold of the patients, and measured on it; left out: the set's splits.
        paper: Its numbers as printed, by method, magnification and metric.
        paper_source: Where they stand in it.
    """

    title: Annotated[str, Field(min_length=1)]
    about: str = ""
    shards: LocationField | None = None
    out: Path | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    magnifications: Annotated[tuple[Magnification, ...], Field(min_length=1)]
    settings: Mapping[str, Any] = Field(default_factory=dict)
    teacher: TeacherRecipe | None = None
    methods: Annotated[Mapping[Label, MethodRecipe], Field(min_length=1)]
    evaluate: EvaluateRecipe = EvaluateRecipe()
    folds: Annotated[FoldsRecipe | None, BeforeValidator(_folds)] = None
    paper: Mapping[Label, Mapping[str, Mapping[PaperMetric, str]]] = Field(default_factory=dict)
    paper_source: str = ""

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        for name in settings:
            if name not in KNOWN:
                raise ValueError(unknown_setting(name))
        return settings

    @field_validator("paper", mode="before")
    @classmethod
    def _magnifications_as_text(cls, paper: Any) -> Any:
        if not isinstance(paper, dict):
            return paper
        return {
            label: {_as_text(m): values for m, values in rows.items()} if isinstance(rows, dict) else rows
            for label, rows in paper.items()
        }


def _as_text(magnification: Any) -> str:
    try:
        return f"{float(magnification):g}"
    except (TypeError, ValueError):
        raise ValueError(f"{magnification!r} is no magnification; write a number, such as 1.25") from None


def unknown_setting(name: str, keys: Iterable[str] = ()) -> str:
    """What to say of a key that is no setting.

    Args:
        name: The key.
        keys: Those that its section has beside settings.
    """
    if name in DECIDED:
        return f"'{name}' cannot be set here: the sweep gives each run its own"
    if name in GONE:
        return f"no phase has a setting '{name}'; {GONE[name]}"
    known = KNOWN.union(keys)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"settings are {', '.join(sorted(known))}"
    return f"no phase has a setting '{name}'; {hint}"


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: It cannot be read, or something in it is refused; the message names the file and the key.
    """
    content = yaml_mapping(path, f"the recipe {path}")
    try:
        return Recipe(**content)
    except ValidationError as error:
        problems = "\n  ".join(_problem(problem) for problem in error.errors())
        raise UsageError(f"the recipe {path} is refused:\n  {problems}") from None


def _problem(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    name = str(problem["loc"][-1]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(name, problem['loc'][:-1])}"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    given = "" if isinstance(problem["input"], dict) else f" (given: {brief(problem['input'])})"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}{given}"


def _unknown_key(name: str, section: tuple[str, ...]) -> str:
    if not section:
        return f"no such key; a recipe has {', '.join(Recipe.model_fields)}"
    if section == ("folds",):
        return f"no such key; folds has {', '.join(FoldsRecipe.model_fields)}"
    if section == ("evaluate",):
        return f"no such key; evaluate has {', '.join(EvaluateRecipe.model_fields)}"
    own = TeacherRecipe if section == ("teacher",) else MethodRecipe
    return unknown_setting(name, set(own.model_fields) - {"settings"})
