"""RUN/calibration.json: the temperature of a run's network, and of which samples it is. Read and written here alone.

In: a run's folder and the SHA-256 of its weights. Out: a checked :class:`Calibration`, or None where the run was never
calibrated. A record of other weights is refused: their logits are others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdtrain.errors import UsageError
from kdtrain.evaluation.temperature import LEAST, MOST, PRIOR_SD
from kdtrain.files import parsed_json, write_atomically
from kdtrain.shards.index import one_line
from kdtrain.shards.models import Count, Sha256
from kdtrain.text import brief, plural
from kdtrain.training.run_folder import CALIBRATION_FILE

__all__ = [
    "CALIBRATION_FILE",
    "Calibration",
    "Fitted",
    "calibration_cautions",
    "read_calibration",
    "write_calibration",
]

FEW_PATIENTS = 20
"""Below it the prior of the temperature counts for as much as what was seen."""
_VERSION = 1
_Positive = Annotated[int, Field(ge=1)]
_Error = Annotated[float, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Fitted(_Strict):
    """Measures of the samples that a temperature was fitted on: no measurement of it, for it was made for them."""

    log_loss: _Error
    ece: _Error
    brier: _Error


class Calibration(_Strict):
    """How a run's probabilities are calibrated.

    Attributes:
        format: "kdtrain-calibration".
        version: Version of the record.
        method: "temperature scaling": logits are divided by one number before the softmax.
        temperature: That number.
        prior_sd: Standard deviation of ln T before anything was seen: what draws T of few patients towards 1.
        split: The labelled split or set that it was fitted on.
        samples: Samples of that split.
        patients: Patients of that split.
        class_counts: Samples of each class.
        before: Measures of these samples without it.
        after: Measures with it.
        weights_sha256: SHA-256 of the weights that it is of.
        shard_set_sha256: SHA-256 of the index of the set that has the split.
        trained_on_sha256: The same of the set that the network was trained on.
    """

    format: Literal["kdtrain-calibration"] = "kdtrain-calibration"
    version: Literal[1] = 1
    method: Literal["temperature scaling"] = "temperature scaling"
    temperature: Annotated[float, Field(ge=LEAST, le=MOST)]
    prior_sd: Annotated[float, Field(gt=0)] = PRIOR_SD
    split: str
    samples: _Positive
    patients: _Positive
    class_counts: dict[str, Count]
    before: Fitted
    after: Fitted
    weights_sha256: Sha256
    shard_set_sha256: Sha256
    trained_on_sha256: Sha256

    @property
    def words(self) -> str:
        """``calibrated on val (45 samples of 12 patients), T = 1.73``."""
        of = f"{plural(self.samples, 'sample')} of {plural(self.patients, 'patient')}"
        return f"calibrated on {self.split} ({of}), T = {self.temperature:.3g}"

    def to_bytes(self) -> bytes:
        """The file's content: the same for the same record."""
        content = self.model_dump(mode="json")
        return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def calibration_cautions(calibration: Calibration) -> Iterator[str]:
    """What must be known before the probabilities are believed, in sentences without a full stop."""
    if calibration.patients < FEW_PATIENTS:
        yield (
            f"the temperature is of {plural(calibration.patients, 'patient')}, too few to move it far from 1, where "
            f"nothing changes; calibrate on {FEW_PATIENTS} or more, such as a development set (--dev-per-class of "
            "slideprep build-shards)"
        )
    if absent := [name for name, count in calibration.class_counts.items() if not count]:
        yield f"{calibration.split} has no {', '.join(absent)}: how sure the network is of it was not looked at"
    if calibration.shard_set_sha256 != calibration.trained_on_sha256:
        yield (
            f"{calibration.split} is of another shard set than training; were patients in both, the network would "
            "still be too sure"
        )


def read_calibration(run: Path, weights_sha256: str, *, what: str) -> Calibration | None:
    """The calibration of a run; None where it was not calibrated.

    Args:
        run: The run's folder.
        weights_sha256: SHA-256 of its weights.
        what: The option that named it, for messages.

    Raises:
        UsageError: The file is damaged, of another version, or of other weights.
    """
    path = run / CALIBRATION_FILE
    try:
        content = parsed_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _refused(what, run, f"is damaged ({error})") from None
    version = content.get("version") if isinstance(content, dict) else None
    if version != _VERSION:
        raise _refused(what, run, f"has version {brief(version)}, and this kdtrain knows {_VERSION}")
    try:
        calibration = Calibration.model_validate(content)
    except ValidationError as error:
        raise _refused(what, run, f"is damaged ({one_line(error)})") from None
    if calibration.weights_sha256 != weights_sha256:
        raise _refused(
            what,
            run,
            f"is of other weights ({calibration.weights_sha256[:12]} there, {weights_sha256[:12]} now: the run was "
            "trained further since)",
        )
    return calibration


def _refused(what: str, run: Path, reason: str) -> UsageError:
    return UsageError(
        f"{what} {run}: {CALIBRATION_FILE} {reason}; run 'kdtrain calibrate {run} --shards DIR' again, or delete the "
        "file to have the probabilities as the softmax gives them"
    )


def write_calibration(run: Path, calibration: Calibration) -> Path:
    """Write it, whole or not at all; an older one is replaced. For the one that holds the run's lock."""
    path = run / CALIBRATION_FILE
    write_atomically(path, calibration.to_bytes())
    return path
