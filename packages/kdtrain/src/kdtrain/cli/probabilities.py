"""What a person reads of a network's probabilities: after ``kdtrain calibrate``, and below an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdtrain.evaluation.calibration import CALIBRATION_FILE, Calibration, calibration_cautions

_ROWS = (
    ("ece", "Calibration error (ECE)"),
    ("brier", "Brier score (0 to 2)"),
    ("log_loss", "Log-loss (nats)"),
)
_PLAIN = frozenset({"brier", "log_loss"})


def calibrated_lines(calibration: Calibration, run: Path) -> Iterator[tuple[str, bool]]:
    """What ``kdtrain calibrate`` says: lines, and whether each is a warning."""
    yield calibration.words, False
    before, after = calibration.before, calibration.after
    yield (
        f"there, before and after: log-loss {before.log_loss:.4f}, {after.log_loss:.4f}; calibration error (ECE) "
        f"{100 * before.ece:.1f} %, {100 * after.ece:.1f} %; Brier score {before.brier:.4f}, {after.brier:.4f}",
        False,
    )
    for caution in calibration_cautions(calibration):
        yield f"warning: {caution}", True
    yield f"written  {run / CALIBRATION_FILE}", False
    yield f"next     kdtrain evaluate {run} --shards DIR", False


def probability_rows(levels: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Rows of an evaluation's table: title, and a cell a level."""
    for name, title in _ROWS:
        yield title, [_cell(record["probabilities"][name], name in _PLAIN) for record in levels.values()]


def probability_lines(metrics: Mapping[str, Any], run: Path | None) -> Iterator[str]:
    """What to know of these rows: whether the probabilities are calibrated, and what of the ECE is chance.

    Args:
        metrics: Of a metrics.json.
        run: The run, which can still be calibrated; None of a bundle, which cannot.
    """
    calibration, levels = metrics.get("calibration"), metrics["levels"]
    if calibration is None:
        remedy = "" if run is None else f"; 'kdtrain calibrate {run} --shards DIR' calibrates them on val"
        yield f"probabilities are as the softmax gives them, not calibrated{remedy}"
    else:
        yield f"probabilities are calibrated on {calibration['split']}, T = {calibration['temperature']:.3g}"
        for name, title in _ROWS:
            plain = name in _PLAIN
            before = [_cell(record["before_calibration"][name], plain) for record in levels.values()]
            yield f"before calibrating, {title}: {', '.join(before)}"
        if calibration["fitted_on_this_split"]:
            yield "warning: the temperature was fitted on these very samples, so it looks better than it is elsewhere"
    by_chance = [record["probabilities"]["ece_by_chance"] for record in levels.values()]
    if all(by_chance):
        shown = ", ".join(f"{100 * one['mean']:.1f}" for one in by_chance)
        yield f"of the ECE, so few items show {shown} by chance, of a network that is right as often as it says"


def _cell(estimate: Mapping[str, float | None], plain: bool) -> str:
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "-"
    ends = "" if low is None or high is None else f" ({_shown(low, plain)}-{_shown(high, plain)})"
    return f"{_shown(value, plain)}{ends}"


def _shown(value: float, plain: bool) -> str:
    return f"{value:.3f}" if plain else f"{100 * value:.1f}"
