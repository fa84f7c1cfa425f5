"""A run that is asked for more epochs than it was begun with: whether it may go on, and what is out of date then.

In: two records of settings, or a run's folder. Out: a reason or none, names of folders. Nothing is written.

A learning rate that is constant, or drops every so many steps, is the same function of the step however long the run
is; so are the order of samples and their augmentation. Such a run, lengthened, has the weights and the log of one that
was begun with the larger number, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdtrain.files import sha256_of

OPEN_ENDED = ("constant", "step")
"""Schedules that do not depend on the length of the run."""


def why_not_longer(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Why a run cannot go on with another number of epochs; None where it can.

    Args:
        before: The settings that it was begun with.
        now: The same, but for "epochs".
    """
    old, new, schedule = before["epochs"], now["epochs"], now["schedule"]
    change = f"epochs: {old} there, {new} now"
    if new < old:
        return (
            f"{change}; what was trained is not taken back: give --epochs {old} or more, or a new --out for a "
            "shorter run"
        )
    if schedule not in OPEN_ENDED:
        return (
            f"{change}; the learning rate of --schedule {schedule} ends with the run, so in a longer one every step "
            f"up to here would have been another: give --epochs {old}, or a new --out. Runs of --schedule "
            f"{' and '.join(OPEN_ENDED)} can be lengthened"
        )
    return None


def outdated_evaluations(run: Path, weights: Path) -> Sequence[str]:
    """Names of a run's evaluations that measured other weights than it has now.

    Args:
        run: The run's folder.
        weights: The file of its network.
    """
    measured = {path.parent.name: _weights_measured(path) for path in run.glob("evaluation-*/metrics.json")}
    measured |= {
        f"{p.parent.name}/{p.name}": _weights_measured(p) for p in run.glob("evaluation-*/probe.json")
    }
    if not measured:
        return ()
    now = sha256_of(weights)
    return sorted(name for name, digest in measured.items() if digest != now)


def is_of_others(record: Path, weights: Path) -> bool:
    """Whether a record that names the weights that it is of is there, and is of others than there are now.

    Args:
        record: A JSON file, such as a run's calibration.
        weights: The file of its network.
    """
    return record.is_file() and _weights_measured(record) != sha256_of(weights)


def _weights_measured(metrics: Path) -> str | None:
    try:
        content = json.loads(metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("weights_sha256") if isinstance(content, dict) else None
