"""The surest errors of every class: which samples a network gave to another class, and with which probability. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdtrain.evaluation.metrics import FloatArray
from kdtrain.evaluation.predictions import items_at
from kdtrain.report.runs.groups import RunGroup


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A sample that was given to another class than its own.

    Attributes:
        key: Its key.
        slide: Name of its slide.
        truth: Its class, from 0.
        answered: The class that it was given.
        probability: Of that class.
        beside: What the other network says: class and probability; None without one.
    """

    key: str
    slide: str
    truth: int
    answered: int
    probability: float
    beside: tuple[int, float] | None


@dataclass(frozen=True, kw_only=True)
class ClassMistakes:
    """The mistakes of one class.

    Attributes:
        samples: Of the class.
        wrong: Of them given to another.
        surest: Those with the highest probability, the highest first.
    """

    samples: int
    wrong: int
    surest: tuple[Mistake, ...]


def surest_errors(group: RunGroup, beside: RunGroup | None, *, most: int) -> tuple[ClassMistakes, ...]:
    """The surest errors of every class, by its number.

    Args:
        group: The network; of several seeds, the mean of their probabilities decides.
        beside: Another, whose answer stands beside.
        most: Of each class.
    """
    said_NK = answered_probabilities(group)
    other_NK = None if beside is None else answered_probabilities(beside)
    predictions = group.runs[0].predictions
    labels_N = np.array([one.label for one in predictions])
    answers_N = said_NK.argmax(axis=1)
    found = []
    for number in range(said_NK.shape[1]):
        wrong = np.flatnonzero((labels_N == number) & (answers_N != number))
        # Predictions are sorted by key, and so are those of one probability.
        order = wrong[np.argsort(-said_NK[wrong, answers_N[wrong]], kind="stable")]
        found.append(
            ClassMistakes(
                samples=int((labels_N == number).sum()),
                wrong=len(wrong),
                surest=tuple(
                    Mistake(
                        key=predictions[place].key,
                        slide=predictions[place].slide,
                        truth=number,
                        answered=int(answers_N[place]),
                        probability=float(said_NK[place, answers_N[place]]),
                        beside=None if other_NK is None else _highest(other_NK[place]),
                    )
                    for place in order[:most]
                ),
            )
        )
    return tuple(found)


def bounded(mistakes: Sequence[ClassMistakes], *, most: int) -> tuple[ClassMistakes, ...]:
    """The same with fewer samples of each class where there are many classes; of very many, one of the surest classes.

    Args:
        mistakes: By class.
        most: Of all classes together.
    """
    surest = {number: one.surest[0].probability for number, one in enumerate(mistakes) if one.surest}
    shown = set(sorted(surest, key=lambda number: -surest[number])[:most])
    each = max(1, most // max(1, len(surest)))
    return tuple(
        replace(one, surest=one.surest[:each] if number in shown else ())
        for number, one in enumerate(mistakes)
    )


def answered_probabilities(group: RunGroup) -> FloatArray:
    """(N, K) by key, mean of the seeds: calibrated where a network is, since it answers with these."""
    said = [items_at("sample", run.predictions, run.applied_temperature).probabilities for run in group.runs]
    mean: FloatArray = np.mean(said, axis=0)
    return mean


def _highest(probabilities_K: Sequence[float] | FloatArray) -> tuple[int, float]:
    number = int(np.argmax(probabilities_K))
    return number, float(probabilities_K[number])
