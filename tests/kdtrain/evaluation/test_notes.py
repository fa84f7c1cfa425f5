"""What is said of a level before its numbers are read: true of it, and with what to do."""

from __future__ import annotations

import pytest

from kdtrain.evaluation.notes import LevelCounts, level_notes
from kdtrain.evaluation.predictions import Prediction
from kdtrain.evaluation.record import evaluate_predictions

CLASSES = ("tumour", "normal", "other")


def _notes(*patients: str, level: str, unit: str = "patient") -> list[str]:
    """Patients by the classes of their samples, "tn" has one of tumour and one of normal; a slide a sample."""
    letters = {name[0]: number for number, name in enumerate(CLASSES)}
    predictions = [
        Prediction(
            key=f"p{patient}-{number}",
            slide=f"s{patient}-{number}",
            patient=f"p{patient}",
            label=letters[letter],
            probabilities=(0.5, 0.3, 0.2),
        )
        for patient, samples in enumerate(patients)
        for number, letter in enumerate(samples)
    ]
    record = evaluate_predictions(predictions, CLASSES, iterations=100, unit=unit)  # type: ignore[arg-type]
    counts = LevelCounts.of(
        record["levels"][level],  # type: ignore[index,arg-type]
        level=level,
        unit=unit,
        iterations=100,
    )
    return list(level_notes(counts))


@pytest.mark.parametrize(
    ("patients", "level", "said"),
    [
        (["t", "t", "n", "n", "o", "o"] * 4, "patient", []),
        (["t", "t", "n", "n"] * 6, "sample", ["no other in this split; left out of the averages"]),
        (["ttn"], "patient", ["nothing is measured, since the one patient has samples of several classes"]),
        (
            ["tn", "no"],
            "patient",
            ["nothing is measured, since each of the 2 patients has samples of several classes"],
        ),
        (
            ["tno"],
            "sample",
            [
                "one patient, which says nothing of others, so there are no intervals; --unit sample draws samples, as "
                "if those of a patient were independent"
            ],
        ),
        (
            ["t", "t", "t", "nn", "oo", "oo"],
            "sample",
            [
                "one patient of normal, which says nothing of others, so the averages over classes have no interval; "
                "--unit sample draws samples, as if those of a patient were independent"
            ],
        ),
        (
            ["t", "t", "n", "o", "o"],
            "sample",
            [
                "one patient of normal, which says nothing of others, so the averages over classes have no interval",
            ],
        ),
    ],
    ids=[
        "enough of all",
        "an absent class",
        "one mixed patient",
        "mixed patients",
        "one patient",
        "one of a class",
        "one sample",
    ],
)
def test_a_level_says_what_it_lacks(patients: list[str], level: str, said: list[str]) -> None:
    """Nothing where there is enough; else what is so, and --unit sample where that would help."""
    assert _notes(*patients, level=level) == said


def test_a_class_that_only_mixed_patients_have_is_not_called_absent() -> None:
    """Its patients were left out; that the split has none of it would be untrue."""
    absent, left_out = _notes(*["t", "t", "tn", "tn"] * 10, level="patient")
    assert absent == "no other in this split; left out of the averages"
    assert left_out == (
        "20 left out, with samples of several classes, among them all that have normal: the averages are over the "
        "other classes"
    )


def test_draws_that_lack_a_class_are_counted() -> None:
    """3:2:2 patients: a draw of seven lacks the second in (5/7)^7 of cases, and so on; all in all about a quarter."""
    (said,) = _notes("t", "t", "t", "n", "n", "o", "o", level="patient")
    count, _, rest = said.partition(" ")
    assert 10 < int(count) < 40
    assert (
        rest
        == f"of 100 draws ({int(count)}.0%) lack a class; the intervals of the averages are over the others"
    )


def test_drawn_by_sample_it_speaks_of_samples() -> None:
    """By sample, one region of a class is one region, and no other unit is advised."""
    (said,) = _notes("ttt", "n", "oo", level="sample", unit="sample")
    assert (
        said
        == "one sample of normal, which says nothing of others, so the averages over classes have no interval"
    )


def test_a_record_of_an_earlier_version_has_fewer_counts() -> None:
    """Without the counts that were added, what they would have said is not said."""
    record = {"n": 3, "units": 3, "class_counts": {"tumour": 3}, "absent_classes": ["normal"]}
    counts = LevelCounts.of(record, level="slide", unit="patient", iterations=10)
    assert list(level_notes(counts)) == ["no normal in this split; left out of the averages"]
