"""Predictions: what is refused, how they are summed up, and that the file reads back to the last bit."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures import strangers
from kdtrain.evaluation.predictions import (
    Prediction,
    PredictionsError,
    check_predictions,
    items_at,
    ranked_items_at,
    read_predictions_csv,
    write_predictions_csv,
)

CLASSES = ("Normal", 'Celiac, "Sprue"')


def _prediction(key: str, slide: str, patient: str, label: int, second: float) -> Prediction:
    return Prediction(key=key, slide=slide, patient=patient, label=label, probabilities=(1 - second, second))


FOUR = (
    _prediction("k1", "s1", "p1", 0, 0.2),
    _prediction("k2", "s1", "p1", 0, 0.6),
    _prediction("k3", "s2", "p1", 1, 0.7),
    _prediction("k4", "s3", "p2", 1, 0.9),
)


def test_slide_has_the_mean_of_its_samples() -> None:
    """Samples of .2 and .6 give the slide .4, so class 0 although one sample says class 1."""
    items = items_at("slide", FOUR)
    assert items.names == ("s1", "s2", "s3")
    assert items.patients == ("p1", "p1", "p2")
    assert items.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(items.probabilities, [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])


def test_items_are_sorted_by_their_own_names() -> None:
    """Slides named against the order of their samples' keys still come in the order of the slides' names."""
    given = [_prediction("k1", "s9", "p1", 0, 0.2), _prediction("k2", "s1", "p1", 1, 0.7)]
    items = items_at("slide", given)
    assert (items.names, items.labels.tolist()) == (("s1", "s9"), [1, 0])


def test_patient_of_mixed_labels_is_left_out_and_named() -> None:
    """Patient p1 has slides of both classes, so p2 alone is left."""
    items = items_at("patient", FOUR)
    assert (items.names, items.mixed) == (("p2",), ("p1",))


def test_patient_has_the_mean_of_samples_not_of_slides() -> None:
    """Two samples of one slide and one of another count a third each: (.2 + .6 + .7) / 3."""
    samples = (*FOUR[:2], dataclasses.replace(FOUR[2], label=0))
    items = items_at("patient", samples)
    np.testing.assert_allclose(items.probabilities, [[0.5, 0.5]])


def test_no_item_may_be_left() -> None:
    """Where every patient is mixed, no item and an empty table of two classes are left."""
    items = items_at("patient", FOUR[:3])
    assert items.names == ()
    assert items.probabilities.shape == (0, 2)


def test_file_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    """Thirds, the smallest number, names with commas, quotes and line ends come back as they were, sorted by key."""
    odd = dataclasses.replace(FOUR[0], slide='a,"b"\r\nc', probabilities=(1 - 5e-324, 5e-324))
    third = dataclasses.replace(FOUR[1], slide="s4", probabilities=(1 / 3, 2 / 3))
    path = tmp_path / "new" / "predictions.csv"
    write_predictions_csv(path, [third, odd], CLASSES, {"split": "test", "set": "5f"})
    table = read_predictions_csv(path)
    assert table.predictions == (odd, third)
    assert (table.classes, table.provenance) == (CLASSES, {"split": "test", "set": "5f"})
    assert [entry.name for entry in path.parent.iterdir()] == ["predictions.csv"]


def test_file_is_plain_to_read(tmp_path: Path) -> None:
    """One line per sample: names for label and predicted class, a column per class, and the provenance."""
    path = tmp_path / "predictions.csv"
    write_predictions_csv(path, [_prediction("k1", "s1", "p1", 0, 0.75)], ("A", "B"), {"split": "val"})
    assert path.read_text().splitlines() == [
        "key,slide,patient,label,predicted,p_A,p_B,split",
        "k1,s1,p1,A,B,0.25,0.75,val",
    ]


def test_calibrated_probabilities_stand_before_those_of_the_softmax(tmp_path: Path) -> None:
    """At T = 2, log-odds ln 9 of 90 % are ln 3, 75 %; what is read back is the softmax, with T beside it."""
    path = tmp_path / "predictions.csv"
    said = [_prediction("k1", "s1", "p1", 0, 0.9)]
    write_predictions_csv(path, said, ("A", "softmax_A"), {"split": "val"}, 2.0)
    header, line = path.read_text().splitlines()
    assert header.endswith("predicted,p_A,p_softmax_A,softmax_A,softmax_softmax_A,split,temperature")
    assert [float(value) for value in line.split(",")[5:7]] == pytest.approx([0.25, 0.75])
    table = read_predictions_csv(path)
    assert (table.classes, table.temperature) == (("A", "softmax_A"), 2.0)
    assert (table.predictions, table.provenance) == (tuple(said), {"split": "val"})


@pytest.mark.parametrize("written", ["0", "-1", "nan", "warm"])
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    """It divides logits."""
    path = tmp_path / "predictions.csv"
    write_predictions_csv(path, [_prediction("k1", "s1", "p1", 0, 0.75)], ("A", "B"), {"split": "val"}, 2.0)
    path.write_text(path.read_text().replace(",2.0\n", f",{written}\n"))
    with pytest.raises(PredictionsError, match="its temperature is"):
        read_predictions_csv(path)


def test_a_slide_is_the_mean_of_calibrated_samples_and_samples_keep_their_ranks() -> None:
    """Samples of 99 % A and twice 60 % B: A by their mean as they are, B where the network was far too sure."""
    samples = [
        Prediction(key=f"k{number}", slide="s", patient="p", label=1, probabilities=(share, 1 - share))
        for number, share in enumerate((0.99, 0.4, 0.4))
    ]
    assert items_at("slide", samples).probabilities.argmax() == 0
    assert ranked_items_at("slide", samples, 5.0).probabilities.argmax() == 0
    cool = items_at("slide", samples, 0.05).probabilities[0]
    assert cool == pytest.approx([1 / 3, 2 / 3], abs=1e-3)
    assert ranked_items_at("slide", samples, 0.05).probabilities[0] == pytest.approx(cool)
    np.testing.assert_array_equal(
        ranked_items_at("sample", samples, 5.0).probabilities, items_at("sample", samples).probabilities
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, r"'k1' has label 2, but the classes are 0 to 1"),
        ({"label": -1}, r"label -1"),
        ({"probabilities": (0.5, 0.4)}, r"add up to 1; give the softmax"),
        ({"probabilities": (float("nan"), 0.4)}, r"probabilities \(nan, 0\.4\): not 2 numbers"),
        ({"probabilities": (1.5, -0.5)}, r"not 2 numbers from 0 to 1"),
        ({"probabilities": (0.5, 0.3, 0.2)}, r"not 2 numbers"),
        ({"key": "k2"}, r"'k2' is predicted twice"),
        ({"patient": "p9"}, r"slide 's1' belongs to patients 'p9' and 'p1'"),
    ],
)
def test_what_would_give_wrong_numbers_is_refused(changes: dict[str, Any], message: str) -> None:
    """Labels out of range, probabilities that are none, repeated samples and slides of two patients are refused."""
    with pytest.raises(PredictionsError, match=message):
        check_predictions([dataclasses.replace(FOUR[0], **changes), *FOUR[1:]], CLASSES)


def test_no_prediction_is_refused() -> None:
    """An empty list is refused, not scored."""
    with pytest.raises(PredictionsError, match="there are no predictions"):
        check_predictions([], CLASSES)


def test_provenance_names_the_split_and_no_other_column(tmp_path: Path) -> None:
    """Provenance without a split, or with a column that is there already, is refused before anything is written."""
    for provenance in ({"run": "x"}, {"split": "test", "key": "x"}):
        with pytest.raises(ValueError, match="must hold 'split' and none of"):
            write_predictions_csv(tmp_path / "p.csv", FOUR, CLASSES, provenance)
    assert not list(tmp_path.iterdir())


HEADER = "key,slide,patient,label,predicted,p_A,p_B,split\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"its columns are \[\]"),
        ("key,slide\n", r"its columns are"),
        (HEADER.replace(",split", ""), r"its columns are"),
        (HEADER, r"there are no predictions"),
        (HEADER + "k,s,p,A,A,0.9,0.1\n", r"line 2 has 7 values for 8 columns"),
        (HEADER + "k,s,p,C,A,0.9,0.1,test\n", r"line 2: .*not in tuple"),
        (HEADER + "k,s,p,A,A,much,0.1,test\n", r"line 2: could not convert string to float"),
        (HEADER + "k,s,p,A,B,0.9,0.1,test\n", r"line 2: 'B' is not the most probable class"),
        (HEADER + "k,s,p,A,A,0.9,0.1,test\nl,s,p,A,A,0.9,0.1,val\n", r"\['split'\] differ between its lines"),
        (HEADER + 'k,s,p,A,A,"0.9"x,0.1,test\n', r"cannot read"),
        ("\xff", r"cannot read"),
    ],
)
def test_damaged_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """A file that was not written by us, or was edited, is refused with the line and what to do."""
    path = tmp_path / "predictions.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(PredictionsError, match=message):
        read_predictions_csv(path)


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    """Without the file the message says to run kdtrain evaluate."""
    with pytest.raises(PredictionsError, match=r"cannot read .*No such file.*run 'kdtrain evaluate' again"):
        read_predictions_csv(tmp_path / "predictions.csv")


def test_names_that_a_spreadsheet_would_compute_read_back(tmp_path: Path) -> None:
    """In the file they are no formula, for us they are what they were: keys, slides, patients and classes."""
    names = strangers.FORMULAS
    predictions = [
        Prediction(
            key=f"{name}{number}", slide=name, patient=name, label=number % 2, probabilities=(0.5, 0.5)
        )
        for number, name in enumerate(names)
    ]
    classes = ("=1+1", "-gland")
    path = tmp_path / "predictions.csv"
    write_predictions_csv(path, predictions, classes, {"split": "@test"})
    read = read_predictions_csv(path)
    assert sorted(read.predictions, key=lambda one: one.key) == sorted(predictions, key=lambda one: one.key)
    assert (read.classes, read.provenance) == (classes, {"split": "@test"})
    cells = [cell for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")) for cell in row]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
