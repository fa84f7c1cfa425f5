"""``kdtrain evaluate --probe``: what a linear classifier makes of a network's features.

What a feature network is worth before it has a classifier, and any other network beside it: the mean of its feature map
over the image, standardised, and logistic regression on it. A classifier answers for patients that it never saw: they
are shared out among folds, each class as evenly as patients allow, and each fold is predicted from the others.

Legend: N samples, C channels of the feature map, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kdtrain.data.inputs import NO_DRAWING, image_batch
from kdtrain.data.samples import LoadedSample
from kdtrain.data.stream import EvaluationStream
from kdtrain.errors import NotFiniteError, UsageError
from kdtrain.evaluation.metrics import FloatArray, IntArray
from kdtrain.evaluation.predictions import Prediction
from kdtrain.model.network import Network
from kdtrain.shards.index import Index

FOLDS = 5
"""Parts that the patients are shared out among; fewer where a class has fewer patients."""
STRENGTH = 1.0
"""C of the logistic regression: its penalty is |w|^2 / 2C beside the sum of the samples' losses, as scikit-learn's
default. It is not chosen by the data, so nothing of a fold is seen beforehand."""
MAX_STEPS = 10_000
PROBE_FILE = "probe.json"
PROBE_PREDICTIONS_FILE = "probe.csv"


@dataclass(frozen=True, kw_only=True)
class Features:
    """A network's features of a split.

    Attributes:
        keys: (N) samples.
        slides: (N) theirs.
        patients: (N) theirs.
        labels: (N) from 0 in the order of the set's classes.
        values: (N, C) float64, each sample's mean over its feature map.
    """

    keys: tuple[str, ...]
    slides: tuple[str, ...]
    patients: tuple[str, ...]
    labels: IntArray
    values: FloatArray


def features_of_split(
    model: nn.Module,
    network: Network,
    index: Index,
    split: str,
    *,
    device: torch.device,
    workers: int = 0,
    on_sample: Callable[[], None] = lambda: None,
) -> Features:
    """Features of every sample of a labelled split, sorted by key.

    Args:
        model: In evaluation mode, on ``device``.
        network: How it is fed.
        index: The shard set.
        split: A labelled split or set.
        device: Where the model is.
        workers: Loader processes.
        on_sample: Called after every sample.

    Raises:
        NotFiniteError: What the network says of a sample is no number.
        UsageError: The split holds no samples.
    """
    stream = EvaluationStream(
        index,
        split,
        [network.magnification],
        stain=network.stain,
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    found: list[tuple[LoadedSample, FloatArray]] = []
    try:
        with torch.no_grad():
            for sample in stream:
                map_BCHW = model(image_batch([sample], network, NO_DRAWING, device))[0]
                mean_C = map_BCHW[0].double().mean(dim=(1, 2)).cpu().numpy()
                if not np.isfinite(mean_C).all():
                    raise NotFiniteError(f"the network's outputs are not finite for {sample.key}")
                found.append((sample, mean_C))
                on_sample()
    finally:
        stream.close()
    if not found:
        raise UsageError(f"--split {split} of {index.directory} holds no samples; choose another")
    found.sort(key=lambda pair: pair[0].key)
    return Features(
        keys=tuple(sample.key for sample, _ in found),
        slides=tuple(sample.slide for sample, _ in found),
        patients=tuple(sample.patient for sample, _ in found),
        labels=np.array([sample.label for sample, _ in found], dtype=np.int64),
        values=np.stack([mean_C for _, mean_C in found]),
    )


def folds_of(features: Features, classes: Sequence[str]) -> int:
    """How many folds the patients give.

    Raises:
        UsageError: Fewer than two classes are there, or one of them is a single patient's.
    """
    pairs = {
        (label, patient) for label, patient in zip(features.labels.tolist(), features.patients, strict=True)
    }
    patients = np.bincount([label for label, _ in pairs], minlength=len(classes))
    there = {name: int(n) for name, n in zip(classes, patients, strict=True) if n}
    if len(there) < 2:
        raise UsageError(
            f"--probe: all samples are of {', '.join(there)}, so there is nothing to tell apart; give another --split"
        )
    few = [name for name, n in there.items() if n < 2]
    if few:
        raise UsageError(
            f"--probe: {', '.join(few)} has samples of one patient alone, and a classifier that has not seen that "
            "patient cannot know the class; give more splits, such as --split train,test"
        )
    return min(FOLDS, *there.values())


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the probe said.

    Attributes:
        predictions: Of every sample, by the classifier of the folds that it is not in.
        folds: How many.
        unconverged: Folds whose regression was stopped at MAX_STEPS.
    """

    predictions: tuple[Prediction, ...]
    folds: int
    unconverged: int

    @property
    def record(self) -> dict[str, Any]:
        """For probe.json."""
        return {
            "classifier": "logistic regression on standardised means of the feature map",
            "C": STRENGTH,
            "folds": self.folds,
            "folds_by": "patient",
            "unconverged_folds": self.unconverged,
            "scikit_learn": metadata.version("scikit-learn"),
        }


def cross_validate(features: Features, classes: Sequence[str], *, seed: int) -> Probed:
    """Predict every sample from the others' patients.

    Args:
        features: Of a labelled split.
        classes: Names, in the order of the labels.
        seed: Of the order in which patients are shared out.

    Raises:
        UsageError: As folds_of.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    folds = folds_of(features, classes)
    probabilities_NK = np.zeros((len(features.keys), len(classes)))
    unconverged = 0
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed % 2**32)
    for seen, unseen in splitter.split(features.values, features.labels, groups=list(features.patients)):
        if not len(unseen):  # patients of several classes can fill fewer folds than there are
            continue
        part_NK, converged = _predicted(features, seen, unseen, len(classes))
        probabilities_NK[unseen] = part_NK
        unconverged += not converged
    predictions = tuple(
        Prediction(
            key=features.keys[i],
            slide=features.slides[i],
            patient=features.patients[i],
            label=int(features.labels[i]),
            probabilities=tuple(row.tolist()),
        )
        for i, row in enumerate(probabilities_NK)
    )
    return Probed(predictions=predictions, folds=folds, unconverged=unconverged)


def _predicted(
    features: Features, seen: NDArray[np.intp], unseen: NDArray[np.intp], classes: int
) -> tuple[FloatArray, bool]:
    """(N unseen, K), 0 for a class that no seen sample has; and whether the regression converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    there = np.unique(features.labels[seen])
    probabilities_NK = np.zeros((len(unseen), classes))
    if len(there) == 1:  # patients of several classes can leave but one to the others
        probabilities_NK[:, there[0]] = 1
        return probabilities_NK, True
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=MAX_STEPS))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(features.values[seen], features.labels[seen])
    probabilities_NK[:, there] = pipeline.predict_proba(features.values[unseen])
    return probabilities_NK, not any(issubclass(one.category, ConvergenceWarning) for one in caught)
