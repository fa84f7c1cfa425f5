"""sweep.json as a report needs it: which runs belong together, what they are called, what the paper measured.

What a run has reached is read from its own folder: the state noted here is only the reason given for one that has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from kdtrain.errors import UsageError
from kdtrain.shards.index import one_line

SWEEP_FILE = "sweep.json"
VERSION = 1
PaperNumbers = dict[str, dict[float, dict[str, str]]]
"""The paper's cells as printed, by method, magnification and metric."""
_Sentence = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]
"""Written over several lines in a recipe or in an error; a page breaks lines by itself."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SweepRun(_Document):
    """One run of a sweep; ``folder`` is relative to the sweep's."""

    name: str
    folder: str
    method: str
    magnification: float
    seed: int
    state: str
    reason: _Sentence = ""


class Sweep(_Document):
    """The content of sweep.json."""

    format: Literal["kdtrain-sweep"]
    version: int
    title: _Sentence
    about: _Sentence = ""
    shards: str
    splits: tuple[str, ...] = ("test",)
    unit: Literal["patient", "sample"] = "patient"
    runs: tuple[SweepRun, ...]
    paper: PaperNumbers = {}
    paper_source: str = ""


def is_sweep(folder: Path) -> bool:
    """Whether a folder is a sweep's."""
    return (folder / SWEEP_FILE).is_file()


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        UsageError: It is damaged, or of a version that this kdtrain does not know.
    """
    path = folder / SWEEP_FILE
    try:
        sweep = Sweep.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(
            f"{path} is not as 'kdtrain sweep' writes it ({one_line(error)}); run the same 'kdtrain sweep' command "
            "again to write it anew"
        ) from None
    if sweep.version != VERSION:
        raise UsageError(
            f"{path} has version {sweep.version}, this kdtrain knows {VERSION}; use the version that wrote it"
        )
    return sweep
