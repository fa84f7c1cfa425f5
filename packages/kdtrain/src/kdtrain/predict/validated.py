"""Slides that were predicted and their labels in, what ``kdtrain evaluate`` would say of them out.

Every region is a sample with its slide's label, as in a shard set built of the same slides and the same labels.csv.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtrain.bundle.document import WEIGHTS_FILE
from kdtrain.bundle.load import OpenBundle
from kdtrain.bundle.shift import Seen
from kdtrain.bundle.validation import Validation, validate
from kdtrain.evaluation.class_names import places_by_name
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.temperature import tempered
from kdtrain.predict import slides
from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction

SPLIT = "slides"
"""What metrics.json calls slides that are of no split."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is known of a slide beforehand.

    Attributes:
        label: Place of its class among the bundle's.
        patient: Whose it is.
    """

    label: int
    patient: str


def truths(labels: Path | None, names: Sequence[str], classes: Sequence[str]) -> dict[str, Truth]:
    """What labels.csv says of the slides that it gives a class, by name; of others nothing.

    Args:
        labels: The file, as ``slideprep build-shards`` takes it; None for none.
        names: Names of the slides.
        classes: Of the bundle.

    Raises:
        UsageError: The file cannot be used, or gives a slide a class that the bundle does not know.
    """
    if labels is None:
        return {}
    named = slides.label_classes(labels, names)
    given = sorted({label for label, _ in named.values()})
    places = places_by_name(
        classes,
        given,
        where=f"--labels {labels}",
        remedy="correct the names, or leave the label of such slides empty to have them predicted and not measured",
    )
    place_of = dict(zip(given, places, strict=True))
    return {name: Truth(label=place_of[label], patient=patient) for name, (label, patient) in named.items()}


def validated(
    bundle: OpenBundle,
    predictions: Sequence[SlidePrediction],
    truth_of: Mapping[str, Truth],
    failed: Collection[str],
) -> Validation | None:
    """Measure a bundle on the slides whose class is known; None where that is none.

    Args:
        bundle: The network.
        predictions: What it said.
        truth_of: From :func:`truths`.
        failed: Slides that it could not be asked about.
    """
    known = [one for one in predictions if one.slide in truth_of]
    if not known:
        return None
    document = bundle.document
    more: dict[str, Any] = {
        "phase": document.training.phase,
        "magnification": bundle.magnification,
        "model": document.architecture.model,
        "output_stride": document.architecture.output_stride,
        "weights_sha256": document.files[WEIGHTS_FILE].sha256,
        "slides": {
            "measured": len(known),
            "without_label": len(predictions) - len(known),
            "labelled_but_failed": len(set(failed) & set(truth_of)),
        },
    }
    said = [one for slide in known for one in _samples(slide, truth_of[slide.slide])]
    # A region of a result that an earlier version kept has no such numbers.
    seen = [_seen(slide, region) for slide in known for region in slide.regions if region.stain]
    return validate(bundle, said, seen, split=SPLIT, more=more)


def _samples(slide: SlidePrediction, truth: Truth) -> Iterator[Prediction]:
    """The regions as samples, with the softmax before the temperature, as evaluations keep it."""
    for region in slide.regions:
        softmax_K = tempered(np.array(region.probabilities), 1 / slide.temperature)
        yield Prediction(
            key=region.key,
            slide=slide.slide,
            patient=truth.patient,
            label=truth.label,
            probabilities=tuple(map(float, softmax_K)),
        )


def _seen(slide: SlidePrediction, region: RegionPrediction) -> Seen:
    return Seen(
        width=region.image_width,
        height=region.image_height,
        mpp=None if slide.mpp is None else slide.mpp * region.width / region.image_width,
        objective=slide.objective,
        stain=region.stain,
    )
