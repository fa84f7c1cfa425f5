"""The shapes of a report's networks: which there are, which is the paper's, and which groups differ in shape alone.

In: groups of runs. Out: words for tables and figures. A report whose students and baselines are all of one shape, as
the paper's, has no need of any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdtrain.report.runs.groups import RunGroup, method_of
from kdtrain.report.runs.results import Results
from kdtrain.training.shape import shape_texts

_OF_SHAPE = frozenset({"model", "output_stride", "width", "stem", "magnification", "seed"})
"""Settings in which the groups of a family may differ."""
ABBREVIATIONS = (
    "Of a shape, s8 is the output stride, here of 8 px for a cell of the feature map; w0.5 the width, here half of the "
    "channels; small stem a first layer without pooling."
)


def has_shapes(results: Results) -> bool:
    """Whether students and baselines are of several shapes."""
    return len({group.shape for group in results.compared}) > 1


def texts_of(groups: Sequence[RunGroup]) -> Mapping[tuple[str, float], str]:
    """The shape of each in words, by method and magnification."""
    texts = shape_texts([group.shape for group in groups])
    return {(group.method, group.magnification): text for group, text in zip(groups, texts, strict=True)}


def is_papers(results: Results, group: RunGroup) -> bool:
    """Whether a group has the paper's shape: stride 32 at full width, and the teacher's architecture."""
    teacher = results.teacher or results.groups[0]
    return group.shape.is_papers and group.shape.model == teacher.shape.model


def price_of_papers(results: Results, magnification: float) -> float | None:
    """GFLOPs of the paper's shape at a magnification; None where no run has it."""
    there = (g for g in results.compared if g.magnification == magnification and is_papers(results, g))
    return next((group.gflops for group in there), None)


def families(groups: Sequence[RunGroup]) -> Mapping[str, tuple[RunGroup, ...]]:
    """Groups that differ in shape and magnification alone, by the name that they have without the shape."""
    found: list[tuple[Mapping[str, Any], list[RunGroup]]] = []
    for group in groups:
        settings = {key: value for key, value in group.runs[0].settings.items() if key not in _OF_SHAPE}
        members = next((members for other, members in found if other == settings), None)
        if members is None:
            found.append((settings, [group]))
        else:
            members.append(group)
    named: dict[str, tuple[RunGroup, ...]] = {}
    for _, members in found:
        name = _name(members)
        named[name if name not in named else f"{name} ({members[0].method})"] = tuple(members)
    return named


def _name(members: Sequence[RunGroup]) -> str:
    """Their label without the shape where that is one, else what a run without a label would be called."""
    labels = {group.method.removesuffix(group.shape.words).strip() for group in members}
    return labels.pop() if len(labels) == 1 else method_of(members[0].runs[0].record, {})


def chosen_text(record: Mapping[str, Any]) -> str:
    """The output stride of a run, and what chose it, if a rule did.

    Args:
        record: The content of run.json.
    """
    stride, chosen = str(record["network"]["output_stride"]), record.get("output_stride_chosen")
    if not isinstance(chosen, dict):
        return stride
    cells, px = chosen.get("cells"), chosen.get("median_shorter_side_px")
    return f"{stride} (auto: {cells} cells on the {px} px of the median training image's shorter side)"
