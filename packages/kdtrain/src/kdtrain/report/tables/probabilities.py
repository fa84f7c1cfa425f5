"""How far probabilities are off, how good they are, and how often the surest answers are right: a table each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kdtrain.report.model import Cell, Row, Table
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.probabilities import SHARES, Belief, Probabilities
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import Estimate, spread
from kdtrain.report.tables.cells import ABSENT, NONE, digits_for, estimate_cell, percent, times100

_PLAIN = (("brier", "Brier score"), ("log_loss", "Log-loss"))
_SHOWN = (1.0, 0.9, 0.8, 0.7, 0.5)
"""Shares with a column."""


def error_table(results: Results) -> Table:
    """The calibration error of every method, before and after calibration where there is one."""
    found = _found(results)
    calibrated = _calibrated(found)
    digits = digits_for(results.scores(results.groups[0]).n)
    return Table(
        name="calibration-error",
        title="How far the probabilities are off",
        caption="Expected calibration error (ECE), percent, by tissue sample: how far the probability of the predicted "
        "class is, on average, from the share that is right. Less is better. By chance: what a network that is right "
        "as often as it says would show on as few samples."
        + " T divides the logits; above 1, the network had been too sure. It changes no sample's class."
        * calibrated
        + " 'kdtrain calibrate RUN' may make it less." * (not calibrated)
        + _intervals(results, "; where chance would explain an ECE, from 0"),
        corner="Method",
        columns=("T", "before", "after", "by chance") if calibrated else ("ECE", "by chance"),
        rows=tuple(
            Row(
                heading=group.title,
                cells=(
                    *([_temperature(one.temperatures)] if calibrated else []),
                    *_before_after(one, "ece", calibrated, lambda estimate: estimate_cell(estimate, digits)),
                    _by_chance(one.believed, digits),
                ),
            )
            for group, one in found
        ),
    )


def scores_table(results: Results) -> Table:
    """Brier score and log-loss of every method, before and after calibration where there is one."""
    found = _found(results)
    calibrated = _calibrated(found)
    columns = ("before", "after") * len(_PLAIN) if calibrated else tuple(title for _, title in _PLAIN)
    return Table(
        name="probability-scores",
        title="How good the probabilities are",
        caption="Brier score (0 to 2) and log-loss (nats), by tissue sample, less is better: both count how well the "
        "classes are told apart, and how rightly sure the network is of it." + _intervals(results),
        corner="Method",
        columns=columns,
        groups=tuple((title, 2) for _, title in _PLAIN) if calibrated else (),
        rows=tuple(
            Row(
                heading=group.title,
                cells=tuple(
                    cell for name, _ in _PLAIN for cell in _before_after(one, name, calibrated, plain_cell)
                ),
            )
            for group, one in found
        ),
    )


def answered_table(results: Results) -> Table:
    """Accuracy of the surest answers of every method."""
    digits = digits_for(results.scores(results.groups[0]).n)
    places = [SHARES.index(share) for share in _SHOWN]
    rows = tuple(
        Row(
            heading=group.title,
            cells=tuple(
                estimate_cell(probabilities_at(results, group).answered[place], digits) for place in places
            ),
        )
        for group in results.groups
    )
    return Table(
        name="answered",
        title="Accuracy of the surest answers, in numbers",
        caption="Percent right, over all classes, of the tissue samples that the network is surest of. Under 80 %, it "
        "answers for four samples of five and leaves the fifth, of which it is least sure, to a person."
        + " 95 % intervals in brackets."
        * any(cell.low is not None for row in rows for cell in row.cells),
        corner="Method",
        columns=tuple(f"{100 * share:.0f} %" for share in _SHOWN),
        groups=(("Share of the samples answered", len(_SHOWN)),),
        rows=rows,
    )


def probabilities_at(results: Results, group: RunGroup) -> Probabilities:
    """Those of a group."""
    return results.probabilities[group.method, group.magnification]


def _found(results: Results) -> list[tuple[RunGroup, Probabilities]]:
    return [(group, probabilities_at(results, group)) for group in results.groups]


def _calibrated(found: Sequence[tuple[RunGroup, Probabilities]]) -> bool:
    return any(one.before is not None for _, one in found)


def _intervals(results: Results, more: str = "") -> str:
    there = any(one.believed.estimates["ece"].low is not None for _, one in _found(results))
    return f" 95 % intervals in brackets{more}." if there else ""


def _before_after(
    found: Probabilities, name: str, calibrated: bool, cell_of: Callable[[Estimate], Cell]
) -> tuple[Cell, ...]:
    """A cell where no method is calibrated; else two, the second a dash where this one is not."""
    after, before = found.believed.estimates[name], found.before
    if not calibrated:
        return (cell_of(after),)
    if before is None:
        return (cell_of(after), ABSENT)
    return (cell_of(before.estimates[name]), cell_of(after))


def _temperature(temperatures: Sequence[float | None]) -> Cell:
    known = [one for one in temperatures if one is not None]
    if not known:
        return ABSENT
    mean = float(np.mean(known))
    return Cell(text=f"{mean:.2f}", value=mean, note=_spread(known), seeds=len(known))


def _by_chance(belief: Belief, digits: int) -> Cell:
    if belief.chance is None:
        return ABSENT
    mean = belief.chance.mean
    return Cell(text=percent(mean, digits), value=times100(mean))


def plain_cell(found: Estimate) -> Cell:
    """A number that is no percentage, "0.412 (0.350-0.480)", with the spread over seeds as a note."""
    if found.value is None:
        return Cell(text=NONE)
    text = f"{found.value:.3f}"
    if found.low is not None and found.high is not None:
        text += f" ({found.low:.3f}-{found.high:.3f})"
    return Cell(
        text=text,
        value=found.value,
        low=found.low,
        high=found.high,
        note=_spread(found.by_seed),
        seeds=len(found.by_seed),
    )


def _spread(values: Sequence[float]) -> str:
    deviation = spread(values)
    return "" if deviation is None else f"±{deviation:.3f} over {len(values)} seeds"
