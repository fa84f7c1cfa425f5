"""A source and what was computed of it in, bundle.json as a document out. Pure; no file is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import PurePath
from typing import Any

import kdtrain
from kdtrain.bundle.document import FORMAT_NAME, FORMAT_VERSION, STAINED_VERSION, BundleDocument
from kdtrain.bundle.entries import (
    RESAMPLING,
    ROLES,
    AgreementEntry,
    Architecture,
    CalibrationEntry,
    FileEntry,
    InputEntry,
    OnnxEntry,
    SplitEntry,
    TeacherEntry,
    TensorEntry,
    TrainingEntry,
)
from kdtrain.bundle.onnx import FEATURE_SIZES
from kdtrain.bundle.source import Source
from kdtrain.bundle.training_data import TrainingData
from kdtrain.evaluation.calibration import Calibration
from kdtrain.model.resnet import MIN_SIDE_PX
from kdtrain.training.trained import Trained

_IMAGE = "grey levels 0 to 255 of red, green and blue, as decoded: standardisation is in the graph"
_RESTAINED_IMAGE = (
    "grey levels 0 to 255 of red, green and blue, decoded and brought into input.stain: that is not in the graph, "
    "standardisation is"
)
LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "torch")
"""That decide a bundle's bytes."""


def default_name(trained: Trained) -> str:
    """``student-2.5x-resnet10``: what it is, not where it lay."""
    role = ROLES[trained.run["settings"]["phase"]].replace(" ", "-")
    return f"{role}-{trained.network.magnification:g}x-{trained.network.model}"


def describe(
    source: Source,
    *,
    name: str,
    data: TrainingData,
    opset: int,
    agreement: AgreementEntry,
    files: Mapping[str, bytes],
) -> BundleDocument:
    """Everything that bundle.json says.

    Args:
        source: What is exported.
        name: Name of the bundle.
        data: What the network was trained on, in ranges.
        opset: Opset version of the ONNX graph.
        agreement: Agreement of the ONNX graph with the network.
        files: Content of the files that must not change.
    """
    trained, index = source.trained, source.index
    network = trained.network
    return BundleDocument(
        format=FORMAT_NAME,
        version=FORMAT_VERSION if network.stain is None else STAINED_VERSION,
        name=name,
        synthetic=index.document.synthetic,
        classes=network.classes,
        architecture=Architecture(
            model=network.model,
            output_stride=network.output_stride,
            width=network.width,
            stem=network.stem,
            parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
            feature_channels=trained.network.spec.feature_channels,
            min_side_px=MIN_SIDE_PX,
        ),
        input=InputEntry(
            magnification=network.magnification,
            magnification_by=index.document.magnification_by,
            mean=network.mean,
            std=network.std,
            encoding=index.document.image,
            resampling=RESAMPLING,
            stain=None if network.stain is None else network.stain.record,
        ),
        slides=index.document.config,
        onnx=_onnx(trained, opset, agreement),
        metrics=None if source.evaluated is None else source.evaluated.metrics,
        calibration=_calibration(source.calibration),
        training=_training(source),
        training_data=data,
        versions={"kdtrain": kdtrain.__version__, **{name: metadata.version(name) for name in LIBRARIES}},
        files={
            name: FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in files.items()
        },
    )


def _onnx(trained: Trained, opset: int, agreement: AgreementEntry) -> OnnxEntry:
    classes = len(trained.network.classes)
    cells = (trained.network.spec.feature_channels, *FEATURE_SIZES)
    return OnnxEntry(
        opset=opset,
        input=TensorEntry(
            name="image",
            type="uint8",
            shape=("batch", 3, "height", "width"),
            meaning=_IMAGE if trained.network.stain is None else _RESTAINED_IMAGE,
        ),
        outputs=(
            TensorEntry(
                name="probabilities",
                type="float32",
                shape=("batch", classes),
                meaning="softmax of the logits, 0 to 1; not calibrated: see calibration",
            ),
            TensorEntry(
                name="logits", type="float32", shape=("batch", classes), meaning="output of the fc layer"
            ),
            TensorEntry(
                name="feature_map",
                type="float32",
                shape=("batch", *cells),
                meaning="output of the last stage, 0 or more; a cell per output_stride image pixels, rounded up",
            ),
        ),
        agreement=agreement,
    )


def _calibration(calibration: Calibration | None) -> CalibrationEntry | None:
    if calibration is None:
        return None
    return CalibrationEntry(
        method=calibration.method,
        temperature=calibration.temperature,
        split=calibration.split,
        samples=calibration.samples,
        patients=calibration.patients,
        shard_set_sha256=calibration.shard_set_sha256,
    )


def _training(source: Source) -> TrainingEntry:
    run, splits = source.trained.run, source.index.document.splits
    shard_set, settings = run["shard_set"], run["settings"]
    return TrainingEntry(
        role=ROLES[settings["phase"]],
        phase=settings["phase"],
        settings=settings,
        chosen_by=shard_set["chosen_by"],
        validation_lacks=tuple(shard_set.get("validation_lacks", ())),
        shard_set_sha256=shard_set["sha256"],
        train_on=source.train_on,
        splits={
            part: SplitEntry(
                slides=splits[part].slides,
                patients=splits[part].patients,
                samples=splits[part].samples,
                per_class=splits[part].per_class,
            )
            for part in source.train_on
        },
        teacher=teacher_entry(shard_set.get("teacher")),
        started_from=_started_from(shard_set),
        versions=run["versions"],
    )


def teacher_entry(record: Mapping[str, Any] | None) -> TeacherEntry | None:
    """What a bundle says of the teacher that a run's record names."""
    if record is None:
        return None
    if "kind" in record:  # no run of kdtrain; where it lay is nobody's business
        return (
            None
            if record["magnification"] is None
            else TeacherEntry(
                weights_sha256=record["sha256"],
                model=PurePath(record["name"]).name,
                magnification=record["magnification"],
                train_on=(),
            )
        )
    return TeacherEntry(
        weights_sha256=record["weights_sha256"],
        model=record["network"]["model"],
        magnification=record["network"]["magnification"],
        train_on=tuple(record["train_on"]),
    )


def _started_from(shard_set: Mapping[str, Any]) -> str | None:
    if "student" in shard_set:
        return str(shard_set["student"]["weights_sha256"])
    return str(shard_set["init"]["sha256"]) if "init" in shard_set else None
