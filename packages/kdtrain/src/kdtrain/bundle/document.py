"""bundle.json as models: bytes in, a checked document out, and back. docs/bundle.md explains every field.

Fields that this version does not know are ignored: a newer minor version may add them. No torch is needed, and no
file but bundle.json is opened.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdtrain.bundle.training_data import TrainingData
from kdtrain.errors import UsageError
from kdtrain.shard_format import one_line
from kdtrain.shard_index import Count, Encoding, Positive, Rgb, Sha256

FORMAT_NAME = "kdtrain-bundle"
FORMAT_VERSION = (1, 0)
"""A newer minor version only adds what a reader may ignore, so it is accepted."""
BUNDLE_FILE = "bundle.json"
WEIGHTS_FILE = "model.safetensors"
ONNX_FILE = "model.onnx"
CARD_FILE = "README.md"

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


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Architecture(_Document):
    """What is needed to build the network.

    Attributes:
        model: Name in kdtrain.models.
        output_stride: Image pixels per cell of the feature map.
        parameters: Their number.
        feature_channels: Of the feature map.
        min_side_px: Smallest image side that goes in.
    """

    model: str
    output_stride: Annotated[int, Field(ge=1)]
    parameters: Annotated[int, Field(ge=1)]
    feature_channels: Annotated[int, Field(ge=1)]
    min_side_px: Annotated[int, Field(ge=1)]


class InputEntry(_Document):
    """What the network's images are.

    Attributes:
        magnification: Of the images.
        magnification_by: "objective": relative to the scan's objective; "mpp": physical, 10x is 1 µm per pixel.
        mean: Grey levels 0 to 255 per channel that standardisation subtracts.
        std: Grey levels that it divides by.
        encoding: What images went through before the network saw them.
        resampling: How they were made, in words.
    """

    magnification: Positive
    magnification_by: Literal["objective", "mpp"]
    mean: Rgb
    std: Rgb
    encoding: Encoding
    resampling: str


class TensorEntry(_Document):
    """An input or output of the ONNX graph; a dimension that is free has a name."""

    name: str
    type: Literal["uint8", "float32"]
    shape: tuple[int | str, ...]
    meaning: str


class AgreementEntry(_Document):
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


class OnnxEntry(_Document):
    """The ONNX graph; what it takes and gives."""

    opset: Count
    input: TensorEntry
    outputs: tuple[TensorEntry, ...]
    agreement: AgreementEntry


class EstimateEntry(_Document):
    """A metric and its interval, fractions from 0 to 1; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


class LevelEntry(_Document):
    """Metrics over samples, slides or patients; see kdtrain.evaluation.

    Attributes:
        n: Items.
        units: Bootstrap units among them.
        class_counts: Items of each class.
        absent_classes: That no item has.
        plain_accuracy: Share of items that are right.
        balanced_accuracy: Mean over the classes of the share that is right.
        macro: Means over the classes of one-vs-rest metrics.
        confusion: True class in rows, predicted in columns, in the order of the classes.
    """

    n: Count
    units: Count
    class_counts: dict[str, Count]
    absent_classes: tuple[str, ...]
    plain_accuracy: EstimateEntry
    balanced_accuracy: EstimateEntry
    macro: dict[str, EstimateEntry]
    confusion: tuple[tuple[Count, ...], ...]


class BootstrapEntry(_Document):
    """How the intervals were made."""

    method: str
    confidence: float
    iterations: Count
    seed: Count
    unit: str


class MetricsEntry(_Document):
    """What was measured.

    Attributes:
        split: On which.
        shard_set_sha256: Of which set: SHA-256 of its index.json.
        metrics_sha256: Of the file that holds all metrics.
        bootstrap: How the intervals were made.
        levels: By sample, slide and patient.
        gflops_mean: Of a forward pass over an image of the split; 2 per multiply-add.
    """

    split: str
    shard_set_sha256: Sha256
    metrics_sha256: Sha256
    bootstrap: BootstrapEntry
    levels: dict[str, LevelEntry]
    gflops_mean: float


class SplitEntry(_Document):
    """Counts of a stored split that was trained on; per_class is None where it carries no labels."""

    slides: Count
    patients: Count
    samples: Count
    per_class: dict[str, Count] | None


class TeacherEntry(_Document):
    """The teacher that a student learned from."""

    weights_sha256: Sha256
    model: str
    magnification: Positive
    train_on: tuple[str, ...]


class TrainingEntry(_Document):
    """How the network came to be.

    Attributes:
        role: What it is.
        phase: The command that trained it.
        settings: What decided its weights, with the names of the command's options.
        chosen_by: What chose the network among its epochs.
        shard_set_sha256: Identity of the training set: SHA-256 of its index.json.
        train_on: Stored splits.
        splits: Their counts.
        teacher: For a student.
        started_from: SHA-256 of the weights that training began with, where it did not begin with random ones.
        versions: Of the software that trained.
    """

    role: Role
    phase: str
    settings: dict[str, Any]
    chosen_by: str
    shard_set_sha256: Sha256
    train_on: tuple[str, ...]
    splits: dict[str, SplitEntry]
    teacher: TeacherEntry | None
    started_from: Sha256 | None
    versions: dict[str, str]


class FileEntry(_Document):
    """A file of the bundle that must not change."""

    bytes: Count
    sha256: Sha256


class BundleDocument(_Document):
    """bundle.json.

    Attributes:
        format: "kdtrain-bundle".
        version: Of the format, (major, minor).
        name: Of the bundle.
        synthetic: Whether the training slides were generated by a program.
        classes: In the order of logits and probabilities.
        architecture: How to build the network.
        input: What its images are.
        slides: ``config`` of the training set's index.json: how slides become images.
        onnx: The graph.
        metrics: None where the run was not evaluated.
        training: How the network came to be.
        training_data: What it was trained on, in ranges.
        versions: Of the software that exported.
        files: By name; README.md is for people, may be edited, and is not among them.
    """

    format: str
    version: tuple[int, int]
    name: str
    synthetic: bool
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    architecture: Architecture
    input: InputEntry
    slides: dict[str, Any]
    onnx: OnnxEntry
    metrics: MetricsEntry | None
    training: TrainingEntry
    training_data: TrainingData
    versions: dict[str, str]
    files: dict[str, FileEntry]

    def to_bytes(self) -> bytes:
        """The file's content: the same for the same document."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def read_document(data: bytes, where: str) -> BundleDocument:
    """Check the content of a bundle.json.

    Args:
        data: Of the file.
        where: The file, for messages.

    Raises:
        UsageError: Not a bundle, of a version that is not known, or damaged.
    """
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} is not JSON ({error}); copy the bundle again, or export it again"
        ) from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT_NAME:
        raise UsageError(
            f"{where} is of no bundle: 'format' is not {FORMAT_NAME!r}; give what 'kdtrain export' wrote"
        )
    version = raw.get("version")
    if not isinstance(version, list) or version[:1] != [FORMAT_VERSION[0]]:
        raise UsageError(
            f"{where} has format version {version}, and this kdtrain knows {FORMAT_VERSION[0]}.x; use the kdtrain that "
            "wrote it, or export the run again"
        )
    try:
        return BundleDocument.model_validate_json(data)
    except ValidationError as error:
        raise UsageError(
            f"{where} is damaged ({one_line(error)}); copy the bundle again, or export it again"
        ) from None
