"""What every logger is told of a line of the log."""

from __future__ import annotations

import pytest

from kdtrain.training.loggers.logger import metrics_of, reason_of


def test_numbers_have_the_same_names_everywhere():
    """Kind and name with a slash; texts, truth values and null have no curve."""
    entry = {
        "kind": "step",
        "step": 3,
        "loss": 0.5,
        "epoch": 1,
        "skipped": False,
        "split": "val",
        "grad_norm": None,
    }
    assert metrics_of(entry) == (3, {"step/loss": 0.5, "step/epoch": 1.0})


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("POST http://ann:secret@host:5000/api failed\nmore", "POST http://host:5000/api failed"),
        ("", "ValueError"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_a_reason_is_one_short_line_without_a_password(said, shown):
    """The first line, at most 300 characters, addresses without name and password; of a mute error its kind."""
    assert reason_of(ValueError(said)) == shown
