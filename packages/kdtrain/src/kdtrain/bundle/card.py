"""bundle.json in, the model card out: README.md as model hubs read it, Markdown below a head of metadata.

The head follows the Hugging Face hub's model card metadata (https://huggingface.co/docs/hub/model-cards; for
``model-index``: modelcard.md of huggingface/hub-docs). The card says nothing that bundle.json does not hold, and of
what is not known it says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from kdtrain.bundle.document import BundleDocument
from kdtrain.bundle.entries import EstimateEntry, MetricsEntry, TrainingEntry
from kdtrain.bundle.training_data import Extent
from kdtrain.evaluation.notes import LevelCounts, level_notes
from kdtrain.text import visible

LEVEL = "slide"
"""Whose metrics the head of the card names: what a user asks about."""
_ROWS = (
    ("accuracy", "Accuracy, one class against the rest"),
    ("f1", "F1"),
    ("precision", "Precision"),
    ("recall", "Recall (sensitivity)"),
    ("auc", "Area under the ROC curve"),
)
_HUB_METRICS = (("f1", "f1"), ("precision", "precision"), ("recall", "recall"), ("auc", "roc_auc"))
"""Macro averages with the names of the hub's metrics."""
_TAGS = ("histology", "pathology", "whole-slide-imaging", "knowledge-distillation", "onnx", "safetensors")


def card(document: BundleDocument, *, license_id: str | None, notes: str | None) -> str:
    """The content of README.md; the same for the same arguments.

    Args:
        document: bundle.json.
        license_id: SPDX identifier; None to state none.
        notes: Markdown of the authors; None for none.
    """
    # Nothing is escaped as HTML: the card is Markdown, and names go through ``plain``.
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(plain=plain, percent=percent, extent=extent, python=python_literal)
    source = files("kdtrain.bundle").joinpath("assets", "card.md").read_text(encoding="utf-8")
    body = environment.from_string(source).render(
        bundle=document,
        head=_head(document, license_id),
        license=license_id,
        role=_role(document),
        scale=_scale(document),
        objectives=_objectives(document.training_data.level0_objectives),
        rows=list(_metric_rows(document)),
        cautions=list(_cautions(document)),
        intervals=_has_intervals(document.metrics),
        notes=None if notes is None else notes.strip(),
    )
    return body.rstrip() + "\n"


def plain(text: object) -> str:
    """A name inside Markdown: on one line, and nothing in it is markup, an HTML entity, mathematics or a link."""
    named = re.sub(r"([\\`*_{}\[\]<>&#|~$@])", r"\\\1", one_line(str(text)))
    # Hubs make links of bare addresses (GitHub Flavored Markdown, 6.9).
    return re.sub(r":(?=//)|(?<=www)\.", lambda sign: f"\\{sign[0]}", named, flags=re.IGNORECASE)


def one_line(text: str) -> str:
    """A name inside the head, which a line of "---" would end."""
    return visible(" ".join(text.split()))


def percent(estimate: EstimateEntry) -> str:
    """``79.2 (68.5-89.1)``: per cent with the interval; "-" where undefined."""
    if estimate.value is None:
        return "-"
    interval = "" if estimate.low is None or estimate.high is None else _interval(estimate.low, estimate.high)
    return f"{estimate.value * 100:.1f}{interval}"


def extent(given: Extent | None, unit: str) -> str:
    """``0.4 to 0.6 µm``, ``20 µm``, or that it is not known."""
    if given is None:
        return "not known"
    smallest, largest = f"{given.min:,.5g}", f"{given.max:,.5g}"
    return f"{smallest} {unit}" if smallest == largest else f"{smallest} to {largest} {unit}"


def _role(document: BundleDocument) -> str:
    training = document.training
    if training.role == "teacher":
        return "a teacher: it was trained on labelled images, and a student at a lower magnification may learn from it"
    if training.role == "baseline":
        return "a baseline: it was trained on labelled images without a teacher, to compare a student with"
    if training.role == "fine-tuned student":
        layers = "all layers were" if training.settings.get("unfreeze") else "last layer was"
        return f"a student whose {layers} afterwards trained on labelled images"
    if training.teacher is None:
        return "a student: it learned from the answers of another network, and from no label"
    teacher = f"a teacher at {training.teacher.magnification:g}x"
    return f"a student: it learned from the answers of {teacher}, and from no label"


def _scale(document: BundleDocument) -> str:
    """What a magnification means here."""
    if document.input.magnification_by == "mpp":
        return "by pixel size: 10x is 1 µm per pixel"
    return "of the scan's objective: an image at 10x of a scan at 20x is reduced twice"


def _objectives(objectives: tuple[float, ...]) -> str:
    return ", ".join(f"{objective:g}x" for objective in objectives) or "not known"


def _interval(low: float, high: float) -> str:
    return f" ({low * 100:.1f}-{high * 100:.1f})"


def python_literal(names: Sequence[str]) -> str:
    """A list of texts as Python code, in which nothing turns the direction of writing or cannot be seen."""
    written = json.dumps(names, ensure_ascii=False, allow_nan=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)


def _head(document: BundleDocument, license_id: str | None) -> str:
    """The metadata, as YAML."""
    fields: dict[str, Any] = {
        # The hub writes SPDX identifiers in lower case.
        **({} if license_id is None else {"license": license_id.lower()}),
        "library_name": "kdtrain",
        "pipeline_tag": "image-classification",
        "tags": [*_TAGS, document.training.role.replace(" ", "-"), document.architecture.model],
    }
    if document.metrics is not None:
        fields["metrics"] = ["accuracy", *(hub for _, hub in _HUB_METRICS)]
        fields["model-index"] = [{"name": one_line(document.name), "results": [_result(document)]}]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True).rstrip()


def _result(document: BundleDocument) -> dict[str, Any]:
    metrics = document.metrics
    assert metrics is not None
    level = metrics.levels[LEVEL]
    values = [("accuracy", "Accuracy", level.plain_accuracy)]
    values += [(hub, f"{hub} (macro average)", level.macro[name]) for name, hub in _HUB_METRICS]
    digest = metrics.shard_set_sha256[:12]
    return {
        "task": {"type": "image-classification", "name": "Whole-slide image classification"},
        "dataset": {
            "type": "slideprep-shards",
            "name": f"shard set {digest}, {metrics.split} split, by {LEVEL}",
            "split": metrics.split,
        },
        "metrics": [
            {"type": kind, "name": title, "value": round(estimate.value, 4)}
            for kind, title, estimate in values
            if estimate.value is not None
        ],
    }


def _metric_rows(document: BundleDocument) -> Iterator[tuple[str, list[str]]]:
    """Title, and one cell a level."""
    if document.metrics is None:
        return
    levels = list(document.metrics.levels.values())
    yield "Correct (accuracy over all classes)", [percent(level.plain_accuracy) for level in levels]
    yield "Balanced accuracy", [percent(level.balanced_accuracy) for level in levels]
    for name, title in _ROWS:
        yield f"{title}, macro average", [percent(level.macro[name]) for level in levels]
    if all(level.probabilities is not None for level in levels):
        found = [level.probabilities.ece for level in levels if level.probabilities is not None]
        yield "Calibration error (ECE) of the probabilities", [percent(ece) for ece in found]


def _cautions(document: BundleDocument) -> Iterator[str]:
    """What must be known before the numbers are read."""
    metrics = document.metrics
    if metrics is None:
        return
    level = metrics.levels[LEVEL]
    if level.units > 1:
        unit = f"{plain(metrics.bootstrap.unit)}s"
        yield f"The intervals are over {level.units:,} {unit}, and say nothing of patients unlike these."
    yield _kinship(metrics, document.training)
    if missing := document.training.validation_lacks:
        yield (
            f"The network was chosen among its epochs by samples without any of {', '.join(map(plain, missing))}: "
            "nothing kept that choice from giving these up."
        )
    yield from _notes(metrics)


def _kinship(metrics: MetricsEntry, training: TrainingEntry) -> str:
    """What the slides that were measured on have to do with those of training."""
    if metrics.shard_set_sha256 != training.shard_set_sha256:
        return (
            "The test slides are of another set than the training slides. Whether slides or patients are in both is "
            "not known."
        )
    if metrics.split in training.train_on:
        return "**These are images that it was trained on.** On any others expect less."
    if training.chosen_by.endswith(f" on {metrics.split}"):
        return "**These images chose the network among its epochs.** On any others expect less."
    return (
        "Test and training slides come from one set: other patients, but the same source. On slides of another "
        "laboratory or scanner expect less."
    )


def _notes(metrics: MetricsEntry) -> Iterator[str]:
    """What averages and intervals leave out, level by level."""
    made = metrics.bootstrap
    for name, level in metrics.levels.items():
        counts = LevelCounts.of(level.model_dump(), level=name, unit=made.unit, iterations=made.iterations)
        for sentence in level_notes(counts):
            yield f"By {plain(name)}: {plain(sentence)}."


def _has_intervals(metrics: MetricsEntry | None) -> bool:
    levels = () if metrics is None else metrics.levels.values()
    return any(
        one.low is not None for level in levels for one in (level.plain_accuracy, *level.macro.values())
    )
