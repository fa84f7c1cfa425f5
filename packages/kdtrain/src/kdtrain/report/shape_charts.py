"""Accuracy against cost of several shapes, with the front, which no cheaper network reaches.

In: Results. Out: Charts. With one shape there is nothing to choose, and the figure is a line per method
(:mod:`kdtrain.report.plots`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kdtrain.report.model import Chart, Point, Series
from kdtrain.report.runs.front import METRICS, front_of, value_of
from kdtrain.report.runs.groups import RunGroup
from kdtrain.report.runs.results import Results
from kdtrain.report.runs.scoring import estimate
from kdtrain.report.runs.shapes import ABBREVIATIONS, families, is_papers, texts_of
from kdtrain.report.tables.cells import times100
from kdtrain.shards.models import magnification_name


def front_charts(results: Results) -> tuple[Chart, ...]:
    """By accuracy, as in the paper's figure 3, and by balanced accuracy."""
    return tuple(_chart(results, metric) for metric in METRICS)


def _chart(results: Results, metric: str) -> Chart:
    front, title = front_of(results, metric), METRICS[metric]
    of_paper = metric == "accuracy"
    return Chart(
        name=f"{title.lower().replace(' ', '-')}-against-cost",
        title=f"{title} against cost",
        caption=(_caption(results, metric) if of_paper else f"As above, by {title.lower()}.")
        + f" On the front are, from the cheapest: {_key(front)}.",
        kind="lines",
        x_title="GFLOPs per image",
        y_title=f"{title}, %",
        x_log=True,
        series=tuple(_all_series(results, metric, front)),
        in_paper="Figure 3" if of_paper else "",
    )


def _caption(results: Results, metric: str) -> str:
    intervals = results.has_intervals([metric])
    whiskers = "; the whiskers are 95 % intervals" * intervals
    teacher = f" The dashed line is the teacher{', in the band of its interval' * intervals}."
    return (
        "Accuracy of every shape against the computation of a forward pass, averaged over the images"
        f"{whiskers}. {ABBREVIATIONS} Lines go from magnification to magnification through stride 32 at full width, "
        f"the paper's shape; other shapes stand by themselves.{teacher if results.teacher else ''} The paper's lines "
        "are not drawn: it prints no GFLOPS. The steps are the front: nothing on it is beaten by what costs no more."
    )


def _key(front: Sequence[RunGroup]) -> str:
    return "; ".join(f"{number} {group.title}" for number, group in enumerate(front, start=1))


def _all_series(results: Results, metric: str, front: Sequence[RunGroup]) -> Iterator[Series]:
    texts = texts_of(results.groups)
    labelled = _labelled(results, metric, front)

    def points(groups: Sequence[RunGroup], *, of_front: bool = False) -> tuple[Point, ...]:
        found = (_point(results, group, metric, texts) for group in groups)
        rows = [(g, point) for g, point in zip(groups, found, strict=True) if point is not None]
        rows.sort(key=lambda row: row[1].x)
        return tuple(replace(point, quiet=not of_front and group not in labelled) for group, point in rows)

    for group in results.groups:
        if group.phase == "teacher":
            made = points([group])
            yield Series(
                label=group.method,
                points=tuple(
                    replace(p, quiet=False, label=magnification_name(group.magnification)) for p in made
                ),
                reference=True,
                band=group is results.teacher,
            )
    for name, members in families(results.compared).items():
        usual = [group for group in members if is_papers(results, group)]
        others = [group for group in members if group not in usual]
        label = f"{name}, stride 32"
        if usual:
            yield Series(label=label, points=points(usual))
        if others:
            shared = label if usual else ""
            yield Series(label=f"{name}, other shapes", points=points(others), joined=False, looks_as=shared)
    numbered = (replace(p, short=str(n)) for n, p in enumerate(points(front, of_front=True), start=1))
    yield Series(label="Front", points=tuple(numbered), steps=True)


def _labelled(results: Results, metric: str, front: Sequence[RunGroup]) -> list[RunGroup]:
    """Whose labels are drawn: the best of each shape and magnification, whose points stand in one column.

    What is on the front is labelled there.
    """
    best: dict[tuple[object, float], RunGroup] = {}
    for group in results.compared:
        value = value_of(results, group, metric)
        there = best.get((group.shape, group.magnification))
        if value is not None and (there is None or value > (value_of(results, there, metric) or 0.0)):
            best[group.shape, group.magnification] = group
    on_it = {(group.shape, group.magnification) for group in front}
    return [group for key, group in best.items() if key not in on_it]


def _point(
    results: Results, group: RunGroup, metric: str, texts: Mapping[tuple[str, float], str]
) -> Point | None:
    found = estimate(results.scores(group), metric)
    if found.value is None:
        return None
    return Point(
        x=group.gflops,
        y=100 * found.value,
        low=times100(found.low),
        high=times100(found.high),
        label=f"{magnification_name(group.magnification)} {texts[group.method, group.magnification]}",
    )
