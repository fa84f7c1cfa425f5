"""The result in one to four plain sentences, from the numbers alone.

The first is always about the first distilled method at the lowest magnification: the cheapest student, chosen before
any number is seen, so that the sentence is not the best of many. Where an interval holds 0, or the student is worse, it
says so. Where networks of several shapes were compared, the last names the one that the comparison was for.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import METRICS, Estimate, estimate
from kdtrain.report.runs.shapes import has_shapes
from kdtrain.report.tables.cells import percent
from kdtrain.report.tables.cost import ratio_text
from kdtrain.report.tables.shapes import cheapest, cheapest_named
from kdtrain.shards.models import magnification_name

_DIGITS = 1
_ROUNDING = 1e-9
"""Equal fractions, averaged over classes in another order, differ by less."""


def answer(results: Results) -> tuple[str, ...]:
    """One to four sentences."""
    student = headline(results)
    if student is None:
        return tuple(_reached(results, group) + "." for group in _without_student(results))
    return (_first(results, student), *_teacher(results, student), *_tally(results), *_cheapest(results))


def headline(results: Results) -> RunGroup | None:
    """Whom the first sentence is about."""
    distilled = [group for group in results.students if group.phase == "distill"] or results.students
    if not distilled:
        return None
    method = distilled[0].method
    return min((g for g in distilled if g.method == method), key=lambda group: group.magnification)


def shown_first(results: Results) -> RunGroup:
    """The network that is looked at closely: that of the first sentence, else the teacher, else the first."""
    return headline(results) or results.teacher or results.groups[0]


def _without_student(results: Results) -> list[RunGroup]:
    teacher = [results.teacher] if results.teacher else []
    return (teacher + list(results.compared[:1]))[:2]


def _first(results: Results, student: RunGroup) -> str:
    text = _reached(results, student)
    baseline, teacher = results.baseline(student), results.teacher
    if baseline is not None:
        found = results.difference(student, baseline, "accuracy")
        text += f": {against(found, 'the baseline', results.unit)}{_seeds(found, student, baseline)}"
    if teacher is not None:
        share = ratio_text(student.gflops / teacher.gflops)
        text += (
            ", at the teacher's computation" if share == "1" else f", at {share} of the teacher's computation"
        )
    return text + "."


def _teacher(results: Results, student: RunGroup) -> Iterator[str]:
    teacher = results.teacher
    if teacher is not None:
        found = results.difference(student, teacher, "accuracy")
        text = against(found, "it", results.unit)
        yield f"{_reached(results, teacher)}; the student is {text}."


def _tally(results: Results) -> Iterator[str]:
    found = []
    for group in results.students:
        baseline = results.baseline(group)
        if baseline is not None:
            found.append(results.difference(group, baseline, "accuracy"))
    if len(found) < 2:
        return
    sure = [one for one in found if one.leaves_out_zero and one.low is not None]
    better = sum(one.low is not None and one.low > 0 for one in sure)
    yield (
        f"Of {len(found)} comparisons of a student with the baseline of its magnification, the student is better in "
        f"{better} and worse in {len(sure) - better}, by an interval that leaves out 0; undecided: "
        f"{len(found) - len(sure)}."
    )


def _cheapest(results: Results) -> Iterator[str]:
    if results.teacher is None or not has_shapes(results) or not results.has_intervals(METRICS):
        return
    said, confirm = cheapest_named(results, "accuracy"), cheapest(results, "accuracy") is not None
    yield (
        said.removesuffix(".")
        + f"; chosen on these {results.unit}s, so others have to confirm it" * confirm
        + "."
    )


def against(found: Estimate, whom: str, unit: str) -> str:
    """A difference in words: "1.3 points above the baseline (95 % interval +0.2 to +2.5)"."""
    if found.value is None:
        return f"not comparable with {whom}"
    points = percent(abs(found.value), _DIGITS)
    side = "above" if found.value > 0 else "below"
    text = f"level with {whom}" if float(points) == 0 else f"{points} points {side} {whom}"
    if found.low is None or found.high is None:
        return f"{text} (no interval: too few {unit}s)"
    bounds = f"{percent(found.low, _DIGITS, '+')} to {percent(found.high, _DIGITS, '+')}"
    doubt = "" if found.leaves_out_zero else f": it holds 0, so these {unit}s do not tell the two apart"
    return f"{text} (95 % interval {bounds}{doubt})"


def _seeds(found: Estimate, student: RunGroup, baseline: RunGroup) -> str:
    if len(student.runs) < 2 or student.seeds != baseline.seeds:
        return ""
    return f", above it in {seeds_above(found)} of {len(found.by_seed)} seeds"


def seeds_above(difference: Estimate) -> int:
    """In how many seeds a difference is above 0, by more than rounding."""
    return sum(value > _ROUNDING for value in difference.by_seed)


def _reached(results: Results, group: RunGroup) -> str:
    # A label with brackets of its own gets none around it.
    student = f"the student {group.method}" if "(" in group.method else f"the student ({group.method})"
    who = {"teacher": "the teacher", "baseline": "the baseline"}.get(group.phase, student)
    accuracy = estimate(results.scores(group), "accuracy")
    balanced = estimate(results.scores(group), "recall")
    mean = f", mean of {len(group.runs)} seeds" if len(group.runs) > 1 else ""
    return (
        f"At {magnification_name(group.magnification)} {who} reaches {percent(accuracy.value, _DIGITS)} % accuracy "
        f"(balanced accuracy {percent(balanced.value, _DIGITS)} %{mean})"
    )
