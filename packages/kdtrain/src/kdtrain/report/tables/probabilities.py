"""How far probabilities may be believed, and how often the surest answers are right: a table each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def probabilities_table(results: Results) -> Table:
    """ECE, Brier score and log-loss of every method, before and after calibration where there is one."""
    found = [(group, probabilities_at(results, group)) for group in results.groups]
    calibrated = any(one.before is not None for _, one in found)
    digits = digits_for(results.scores(results.groups[0]).n)
    both = ("before", "after") if calibrated else ("",)
    titles = ("ECE, %", *(title for _, title in _PLAIN))
    columns = (*both, "by chance", *both, *both) if calibrated else (titles[0], "by chance", *titles[1:])
    groups = (("", 1), (titles[0], 3), *((title, 2) for title in titles[1:])) if calibrated else ()
    return Table(
        name="probabilities",
        title="How far probabilities may be believed",
        caption=_caption(results, calibrated),
        corner="Method",
        columns=(*(("T",) if calibrated else ()), *columns),
        groups=groups,
        rows=tuple(
            Row(heading=group.title, cells=tuple(_cells(one, digits, calibrated))) for group, one in found
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
        title="Accuracy of the surest answers",
        caption="Percent right, over all classes, of the tissue samples that the network is surest of. Under 80 %, it "
        "answers for four samples of five and leaves the fifth, of which it is least sure, to a person."
        + " 95 % intervals in brackets."
        * any(cell.low is not None for row in rows for cell in row.cells),
        corner="Method",
        columns=tuple(f"{100 * share:.0f} % answered" for share in _SHOWN),
        rows=rows,
    )


def probabilities_at(results: Results, group: RunGroup) -> Probabilities:
    """Those of a group."""
    return results.probabilities[group.method, group.magnification]


def _caption(results: Results, calibrated: bool) -> str:
    intervals = any(
        one.low is not None
        for group in results.groups
        for one in probabilities_at(results, group).believed.estimates.values()
    )
    return (
        "By tissue sample; less is better. ECE, the expected calibration error: how far the probability of the "
        "predicted class is from the share that is right, on average; by chance: what a network that is right as often "
        "as it says would show on as few samples. Brier score (0 to 2) and log-loss (nats) also count how well the "
        "classes are told apart."
        + " T is the temperature that divides the logits; above 1 the network had been too sure. It changes no "
        "sample's class. A dash: not calibrated."
        * calibrated
        + " Not calibrated: 'kdtrain calibrate RUN' does that." * (not calibrated)
        + " 95 % intervals in brackets; that of an ECE begins at 0 where chance would explain it." * intervals
    )


def _cells(found: Probabilities, digits: int, calibrated: bool) -> Iterator[Cell]:
    after, before = found.believed, found.before
    if calibrated:
        yield _temperature(found.temperatures)
        yield estimate_cell((before or after).estimates["ece"], digits)
    yield estimate_cell(after.estimates["ece"], digits) if before or not calibrated else ABSENT
    yield _by_chance(after, digits)
    for name, _ in _PLAIN:
        if calibrated:
            yield plain_cell((before or after).estimates[name])
        yield plain_cell(after.estimates[name]) if before or not calibrated else ABSENT


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
