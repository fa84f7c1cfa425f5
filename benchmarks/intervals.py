"""How often the bootstrap's 95 % intervals hold the truth, where a test split has few patients of a class.

    python benchmarks/intervals.py [--splits 400] [--draws 600]

A network that is right with known probabilities is measured on many test splits, of one sample a patient, and each
split gets its intervals in three ways:

- ours: patients drawn from all of them; draws that lack a class are left out of the means over classes
- of the classes drawn: the same draws, means over the classes that a draw has
- by class: as many patients of each class as the split has, drawn within it

A split has the numbers of patients exactly, as a split by class makes them, or by chance. Coverage is the share of
splits whose interval holds the truth, aimed at 95 %, and width the intervals' mean. A minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

import numpy as np
from _common import machine, machine_line, markdown_table
from numpy.typing import NDArray

from kdtrain.evaluation.bootstrap import LEAST_UNITS, Outcomes, bootstrap, interval

Numbers = NDArray[np.int64]

SAID = np.array([[0.85, 0.10, 0.05], [0.30, 0.60, 0.10], [0.20, 0.15, 0.65]])
"""Probability of each answer (columns) for a sample of each class (rows)."""
CASES = ((8, 2, 2), (12, 4, 4), (20, 5, 5), (30, 10, 10), (20, 20, 20))
"""Patients of each class."""
METRICS = ("recall", "f1", "plain accuracy")
WAYS = ("ours", "of the classes drawn", "by class")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=400)
    parser.add_argument("--draws", type=int, default=600)
    options = parser.parse_args()
    rows = [
        row
        for case in CASES
        for exact in (True, False)
        for row in measure(case, exact=exact, splits=options.splits, draws=options.draws)
    ]
    head = ["patients", "numbers", "intervals", *(f"{name}: coverage, width" for name in METRICS)]
    print(machine_line(machine()), "\n", markdown_table(head, rows), sep="\n")


def measure(case: tuple[int, ...], *, exact: bool, splits: int, draws: int) -> Iterator[list[str]]:
    """A row for each way."""
    generator = np.random.default_rng(0)
    truth = _metrics((SAID * np.array(case)[:, None])[None])
    held = np.zeros((len(WAYS), len(METRICS)))
    width, count = held.copy(), 0
    for _ in range(splits):
        labels = _labels(generator, case, exact=exact)
        if min(np.bincount(labels, minlength=len(case))) < LEAST_UNITS:
            continue  # no interval is given for a class of one patient
        count += 1
        said = np.array([generator.choice(len(case), p=SAID[label]) for label in labels])
        for way, values in enumerate(_ways(labels, said, draws=draws, seed=count)):
            for number, name in enumerate(METRICS):
                found = interval(values[name])
                assert found.low is not None and found.high is not None
                held[way, number] += found.low - 1e-9 <= truth[name][0] <= found.high + 1e-9
                width[way, number] += found.high - found.low
    for way, name in enumerate(WAYS):
        cells = [
            f"{100 * h / count:.0f} %, {100 * w / count:.0f}"
            for h, w in zip(held[way], width[way], strict=True)
        ]
        yield [":".join(map(str, case)), "exact" if exact else "by chance", name, *cells]


def _labels(generator: np.random.Generator, case: tuple[int, ...], *, exact: bool) -> Numbers:
    if exact:
        return np.repeat(np.arange(len(case)), case)
    return generator.choice(len(case), sum(case), p=np.array(case) / sum(case))


def _ways(
    labels: Numbers, said: Numbers, *, draws: int, seed: int
) -> Iterator[Mapping[str, NDArray[np.float64]]]:
    """The metrics of every draw, way by way."""
    classes, patients = len(SAID), len(labels)
    outcomes = Outcomes(labels=labels, probabilities=np.eye(classes)[said], unit_of=np.arange(patients))
    ours = bootstrap([outcomes], iterations=draws, seed=seed)[0]
    yield dict(zip(METRICS, (ours.macro["recall"], ours.macro["f1"], ours.plain_accuracy), strict=True))
    generator = np.random.default_rng(seed)
    cells = labels * classes + said
    yield _metrics(_confusions(cells[generator.integers(0, patients, (draws, patients))]))
    parts = [np.flatnonzero(labels == number) for number in range(classes)]
    drawn = [part[generator.integers(0, len(part), (draws, len(part)))] for part in parts]
    yield _metrics(_confusions(cells[np.concatenate(drawn, axis=1)]))


def _confusions(cells: Numbers) -> NDArray[np.float64]:
    classes = len(SAID)
    counts = np.stack([(cells == cell).sum(axis=1) for cell in range(classes**2)], axis=1)
    return counts.reshape(-1, classes, classes).astype(np.float64)


def _metrics(confusions: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """By the names of METRICS; means over the classes that are there."""
    hits, true, said = (
        np.diagonal(confusions, axis1=1, axis2=2),
        confusions.sum(axis=2),
        confusions.sum(axis=1),
    )
    there = true > 0
    recall = np.where(there, hits / np.where(there, true, 1), 0).sum(axis=1) / there.sum(axis=1)
    f1 = np.where(there, 2 * hits / np.where(there, true + said, 1), 0).sum(axis=1) / there.sum(axis=1)
    return dict(zip(METRICS, (recall, f1, hits.sum(axis=1) / true.sum(axis=1)), strict=True))


if __name__ == "__main__":
    main()
