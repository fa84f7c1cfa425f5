"""Every shape by its price, and the cheapest student that reaches the teacher.

In: Results whose networks have several shapes. Out: a table, cheapest first, and a sentence that names that student.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdtrain.report.model import Cell, Paragraph, Row, Table
from kdtrain.report.runs.front import METRICS, front_of, value_of
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import estimate
from kdtrain.report.runs.shapes import ABBREVIATIONS, price_of_papers, texts_of
from kdtrain.report.tables.cells import ABSENT, digits_for, estimate_cell
from kdtrain.report.tables.cost import ratio_text
from kdtrain.text import plural

COLUMNS = {**METRICS, "auc": "ROC AUC"}


def shapes_table(results: Results) -> Table:
    """A row per method and magnification: what a forward pass takes, and what it brings.

    The shape has a column of its own where the labels do not say it.
    """
    texts = texts_of(results.groups)
    fronts = {metric: front_of(results, metric) for metric in METRICS}
    taught = results.teacher is not None
    unsaid = not all(g.method.endswith(texts[g.method, g.magnification]) for g in results.compared)
    groups = sorted(results.groups, key=lambda group: group.gflops)
    return Table(
        name="shapes",
        title="Every shape by its price",
        caption="GFLOPs of a forward pass, beside those of stride 32 at full width at the same magnification and "
        f"beside the teacher's; then percent, as in the other tables. {ABBREVIATIONS} Bold: on the front of accuracy "
        "against cost, where nothing that costs no more is better.",
        corner="Network",
        columns=(
            *["Shape"] * unsaid,
            "mean",
            "of s32's",
            "of teacher's",
            *COLUMNS.values(),
            *["reached"] * taught,
        ),
        groups=(*[("", 1)] * unsaid, ("GFLOPs", 3), ("Percent", len(COLUMNS)), *[("Teacher", 1)] * taught),
        rows=tuple(
            Row(
                heading=group.title,
                cells=(
                    *[Cell(text=texts[group.method, group.magnification])] * unsaid,
                    *_prices(results, group),
                    *(_measured(results, group, metric, fronts.get(metric, ())) for metric in COLUMNS),
                    *[_reached(results, group)] * taught,
                ),
            )
            for group in groups
        ),
    )


def cheapest_sentences(results: Results) -> Paragraph | None:
    """Which student is the cheapest that reaches the teacher, and what that means; None without both."""
    if results.teacher is None or not results.students:
        return None
    if not results.has_intervals(METRICS):
        return Paragraph(
            text=f"Which student reaches the teacher is not told: there are too few {results.unit}s for intervals."
        )
    named = " ".join(cheapest_named(results, metric) for metric in METRICS)
    return Paragraph(
        text=f"{named} A student reaches the teacher where the 95 % interval of its difference to the teacher, both "
        f"scored on the same draws of {results.unit}s, holds 0 or lies above it: these {results.unit}s do not show it "
        f"to be worse. The fewer {results.unit}s, the wider the intervals and the more students reach; and the "
        "cheapest was chosen on them, so that a split that chose nothing has to confirm it."
    )


def cheapest(results: Results, metric: str) -> RunGroup | None:
    """The cheapest student that reaches the teacher, the better of two that cost the same; None where none does."""
    reaching = [group for group in results.students if reaches(results, group, metric)]
    return min(reaching, key=lambda g: (g.gflops, -(value_of(results, g, metric) or 0.0)), default=None)


def reaches(results: Results, group: RunGroup, metric: str) -> bool:
    """Whether the interval of a group's paired difference to the teacher holds 0 or lies above it.

    All runs of a report are measured on the same samples, so that the difference is always paired.
    """
    if results.teacher is None:
        return False
    high = results.difference(group, results.teacher, metric).high
    return high is not None and high >= 0


def cheapest_named(results: Results, metric: str) -> str:
    """Which student that is, in a sentence."""
    name = METRICS[metric].lower()
    found, of = cheapest(results, metric), plural(len(results.students), "student")
    if found is None and len(results.students) == 1:
        return f"By {name}, the student does not reach the teacher."
    if found is None:
        return f"By {name}, none of {of} reaches the teacher."
    assert results.teacher is not None
    share = ratio_text(found.gflops / results.teacher.gflops)
    price = f"{found.gflops:.3g} GFLOPs, {share} of the teacher's"
    return f"By {name}, the cheapest of {of} that reaches the teacher is {found.title} ({price})."


def _prices(results: Results, group: RunGroup) -> tuple[Cell, ...]:
    references = (
        None if group.phase == "teacher" else price_of_papers(results, group.magnification),
        results.teacher.gflops if results.teacher else None,
    )
    shares = (ABSENT if other is None else _share(group.gflops / other) for other in references)
    return (Cell(text=f"{group.gflops:.3g}", value=group.gflops), *shares)


def _share(ratio: float) -> Cell:
    return Cell(text=ratio_text(ratio), value=ratio)


def _measured(results: Results, group: RunGroup, metric: str, front: Sequence[RunGroup]) -> Cell:
    scores = results.scores(group)
    cell = estimate_cell(estimate(scores, metric), digits_for(scores.n))
    return replace(cell, best=group in front)


def _reached(results: Results, group: RunGroup) -> Cell:
    if group.phase == "teacher":
        return ABSENT
    by = [METRICS[metric].lower() for metric in METRICS if reaches(results, group, metric)]
    return Cell(text="yes" if len(by) == len(METRICS) else f"by {by[0]}" if by else "no")
