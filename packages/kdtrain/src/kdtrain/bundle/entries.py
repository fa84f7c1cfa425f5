"""The parts of bundle.json as models; docs/bundle.md explains every field. Pure.

Fields that this version does not know are ignored: a newer minor version may add them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from kdtrain.evaluation.temperature import LEAST, MOST
from kdtrain.model.stain.target import StainTarget
from kdtrain.shards.models import Count, Encoding, Positive, Sha256

Role = Literal["teacher", "baseline", "student", "fine-tuned student"]
ROLES: dict[str, Role] = {
    "teacher": "teacher",
    "baseline": "baseline",
    "distill": "student",
    "finetune": "fine-tuned student",
}
"""What a network is, by the phase that trained it."""
RESAMPLING = (
    "Every image comes straight from level 0 in one step by Lanczos (a = 3), the kernel stretched by the reduction "
    "factor, weights renormalised at the slide's border: no pyramid level, no chain of reductions, never upsampled. It "
    "is then encoded and decoded once, as the images of training were."
)


MOST_PARAMETERS = 200_000_000
"""More than any network of kdtrain has: a resnet152 has 58 million without its classes."""
MOST_CLASSES = 10_000
_Grey = Annotated[float, Field(ge=0, le=255)]
_Deviation = Annotated[float, Field(gt=0, le=128)]


class Entry(BaseModel):
    """A part of bundle.json."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Architecture(Entry):
    """What is needed to build the network.

    Attributes:
        model: Name in kdtrain.model.resnet.
        output_stride: Image pixels per cell of the feature map.
        width: Channels of every stage, relative to the model's.
        stem: "standard" or "small".
        parameters: Their number.
        feature_channels: Channels of the feature map.
        min_side_px: Smallest image side that goes in.
    """

    model: str
    output_stride: Annotated[int, Field(ge=1, le=1024)]
    width: Positive = 1.0
    stem: str = "standard"
    parameters: Annotated[int, Field(ge=1, le=MOST_PARAMETERS)]
    feature_channels: Annotated[int, Field(ge=1, le=MOST_PARAMETERS)]
    min_side_px: Annotated[int, Field(ge=1, le=1024)]


class InputEntry(Entry):
    """What the network's images are.

    Attributes:
        magnification: Magnification of the images.
        magnification_by: "objective": relative to the scan's objective; "mpp": physical, 10x is 1 µm per pixel.
        mean: Grey levels 0 to 255 per channel that standardisation subtracts.
        std: Grey levels that it divides by.
        encoding: What images went through before the network saw them.
        resampling: How they were made, in words.
        stain: What images are brought into before the graph gets them, a record of kdtrain.model.stain.target; None
            for nothing. Written only where there is one, in bundles of version 2.
    """

    magnification: Annotated[float, Field(gt=0, le=200)]
    magnification_by: Literal["objective", "mpp"]
    mean: tuple[_Grey, _Grey, _Grey]
    std: tuple[_Deviation, _Deviation, _Deviation]
    encoding: Encoding
    resampling: str
    stain: dict[str, Any] | None = None

    @field_validator("stain")
    @classmethod
    def _is_known(cls, stain: dict[str, Any] | None) -> dict[str, Any] | None:
        if stain is not None:
            StainTarget.of(stain)
        return stain

    @model_serializer(mode="wrap")
    def _as_before_stains(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name != "stain" or value is not None}


class TensorEntry(Entry):
    """An input or output of the ONNX graph; a dimension that is free has a name."""

    name: str
    type: Literal["uint8", "float32"]
    shape: tuple[int | str, ...]
    meaning: str


class AgreementEntry(Entry):
    """How far ONNX Runtime and PyTorch were apart, over test images.

    Attributes:
        images: [batch, height, width] of each.
        probabilities: Largest absolute difference.
        logits: The same.
        feature_map: The same.
    """

    images: tuple[tuple[int, int, int], ...]
    probabilities: float
    logits: float
    feature_map: float


class OnnxEntry(Entry):
    """The ONNX graph; what it takes and gives."""

    opset: Count
    input: TensorEntry
    outputs: tuple[TensorEntry, ...]
    agreement: AgreementEntry


class EstimateEntry(Entry):
    """A metric and its interval, fractions from 0 to 1; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


class ProbabilitiesEntry(Entry):
    """How far probabilities may be believed; see kdtrain.evaluation.reliability.

    Attributes:
        ece: Expected calibration error, a fraction.
        brier: Brier score, 0 to 2.
        log_loss: In nats.
    """

    ece: EstimateEntry
    brier: EstimateEntry
    log_loss: EstimateEntry


class LevelEntry(Entry):
    """Metrics over samples, slides or patients; see kdtrain.evaluation.record.

    Attributes:
        n: Items.
        units: Bootstrap units among them.
        class_counts: Items of each class.
        absent_classes: That no item has.
        mixed_left_out: Slides or patients left out because their samples have several labels.
        hidden_classes: Those of absent_classes that samples of these have.
        single_unit_classes: That a single unit has, so that means over classes have no interval.
        draws_with_absent_classes: Draws that lack a class, and that intervals of means over classes leave out.
        plain_accuracy: Share of items that are right.
        balanced_accuracy: Mean over the classes of the share that is right.
        macro: Means over the classes of one-vs-rest metrics.
        confusion: True class in rows, predicted in columns, in the order of the classes.
        probabilities: Of those that are answered; None of an evaluation before these were measured.
        before_calibration: Of the softmax as it is; None where the network is not calibrated.
    """

    n: Count
    units: Count
    class_counts: dict[str, Count]
    absent_classes: tuple[str, ...]
    mixed_left_out: Count = 0
    hidden_classes: tuple[str, ...] = ()
    single_unit_classes: tuple[str, ...] = ()
    draws_with_absent_classes: Count = 0
    plain_accuracy: EstimateEntry
    balanced_accuracy: EstimateEntry
    macro: dict[str, EstimateEntry]
    confusion: tuple[tuple[Count, ...], ...]
    probabilities: ProbabilitiesEntry | None = None
    before_calibration: ProbabilitiesEntry | None = None


class BootstrapEntry(Entry):
    """How the intervals were made."""

    method: str
    confidence: float
    iterations: Count
    seed: Count
    unit: str


class MetricsEntry(Entry):
    """What was measured.

    Attributes:
        split: On which.
        shard_set_sha256: SHA-256 of the index.json of the set.
        metrics_sha256: SHA-256 of the file that holds all metrics.
        bootstrap: How the intervals were made.
        levels: By sample, slide and patient.
        gflops_mean: Mean GFLOPs of a forward pass over an image of the split; 2 per multiply-add.
    """

    split: str
    shard_set_sha256: Sha256
    metrics_sha256: Sha256
    bootstrap: BootstrapEntry
    levels: dict[str, LevelEntry]
    gflops_mean: float


class CalibrationEntry(Entry):
    """How logits become probabilities: softmax(logits / temperature).

    Attributes:
        method: "temperature scaling".
        temperature: By which logits are divided.
        split: On which it was fitted.
        samples: Samples of that split.
        patients: Patients of that split.
        shard_set_sha256: SHA-256 of the index.json of its set.
    """

    method: Literal["temperature scaling"]
    temperature: Annotated[float, Field(ge=LEAST, le=MOST)]
    split: str
    samples: Count
    patients: Count
    shard_set_sha256: Sha256

    @property
    def words(self) -> str:
        """``calibrated on val, T = 1.73``."""
        return f"calibrated on {self.split}, T = {self.temperature:.3g}"


class SplitEntry(Entry):
    """Counts of a stored split that was trained on; per_class is None where it carries no labels."""

    slides: Count
    patients: Count
    samples: Count
    per_class: dict[str, Count] | None


class TeacherEntry(Entry):
    """The teacher that a student learned from."""

    weights_sha256: Sha256
    model: str
    magnification: Positive
    train_on: tuple[str, ...]


class TrainingEntry(Entry):
    """How the network came to be.

    Attributes:
        role: What it is.
        phase: The command that trained it.
        settings: What decided its weights, with the names of the command's options.
        chosen_by: What chose the network among its epochs.
        validation_lacks: Classes that are trained on and that what chose it had no sample of.
        shard_set_sha256: Identity of the training set: SHA-256 of its index.json.
        train_on: Stored splits.
        splits: Their counts.
        teacher: For a student.
        started_from: SHA-256 of the weights that training began with, where it did not begin with random ones.
        versions: Versions of the software that trained.
    """

    role: Role
    phase: str
    settings: dict[str, Any]
    chosen_by: str
    validation_lacks: tuple[str, ...] = ()
    shard_set_sha256: Sha256
    train_on: tuple[str, ...]
    splits: dict[str, SplitEntry]
    teacher: TeacherEntry | None
    started_from: Sha256 | None
    versions: dict[str, str]


class FileEntry(Entry):
    """A file of the bundle that must not change."""

    bytes: Count
    sha256: Sha256
